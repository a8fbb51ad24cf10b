-- Write to a stream of an unfinished task, and tell it.
-- KEYS: task, its output, the stream. ARGV: nonce, stream, data, bytes kept, streams allowed, task id, then channels.
-- Returns 1, end, record, version, size, written, nonce; 0, status when the task has ended; -1 when there is none; -2 when
-- that would be one stream too many. The output's own fields begin with a blank, as no stream does.
local there = redis.call('HMGET', KEYS[1], 'r', 'v', 's', 'n', 'w', 't')
if not there[1] then
  return {-1}
end
local ends = redis.call('HMGET', KEYS[2], ARGV[2], ' nonce')
if ends[2] and ends[2] == ARGV[1] then -- ours: the answer was lost
  return {1, ends[1], there[1], there[2], there[3], there[4], there[5]}
end
if there[6] ~= 'pending' and there[6] ~= 'processing' then
  return {0, there[6]}
end
local start = ends[1]
if not start then
  if redis.call('HLEN', KEYS[2]) - (ends[2] and 1 or 0) >= tonumber(ARGV[5]) then
    return {-2}
  end
  start = '0'
  redis.call('SET', KEYS[3], ARGV[3])
else
  local kept = tonumber(ARGV[4])
  if redis.call('APPEND', KEYS[3], ARGV[3]) > 2 * kept then -- seldom, since it copies what is kept
    redis.call('SET', KEYS[3], redis.call('GETRANGE', KEYS[3], -kept, -1))
  end
end
local finish = string.format('%.0f', tonumber(start) + #ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], finish, ' nonce', ARGV[1])
local written = redis.call('HINCRBY', KEYS[1], 'n', #ARGV[3])
local news = 'O ' .. ARGV[6] .. ' ' .. start .. ' ' .. written .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
for i = 7, #ARGV do
  redis.call('PUBLISH', ARGV[i], news)
end
return {1, finish, there[1], there[2], there[3], written, there[5]}
