-- Give a task that is about to be created its place among all, and put it into the lists of its rooms.
-- KEYS: meta, then the lists of unfinished tasks that it belongs to.
-- ARGV: task id, now in microseconds ('' = by this server's clock), then channels to tell that the task is about to come.
-- Returns epoch ('' when there is none: the store was flushed), order, now in microseconds.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'order')
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local order = string.format('%.0f', math.max(now, tonumber(meta[2] or '0') + 1))
redis.call('HSET', KEYS[1], 'order', order)
for i = 2, #KEYS do
  redis.call('ZADD', KEYS[i], order, order .. ' ' .. ARGV[1])
end
for i = 3, #ARGV do
  redis.call('PUBLISH', ARGV[i], 'N ' .. ARGV[1])
end
return {meta[1] or '', order, string.format('%.0f', now)}
