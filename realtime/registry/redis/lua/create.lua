-- Store the first record of a task, above every version that its id had, and tell it.
-- KEYS: task, its output, then the lists of unfinished tasks that it belongs to, where they are on this server: so it is in
-- them though the store was flushed since it was registered. ARGV: nonce, now in microseconds, status, record, order, task
-- id, then channels.
-- Returns 1, version, size, and, if that was done before, what is stored: record, written; or, when the id is taken, 0,
-- record, version, size, written, nonce.
local there = redis.call('HMGET', KEYS[1], 'r', 'v', 's', 'n', 'w')
if there[1] then
  if there[5] == ARGV[1] then -- ours: the answer was lost; the record may have been made anew since
    return {1, there[2], there[3], there[1], there[4]}
  end
  return {0, there[1], there[2], there[3], there[4], there[5]}
end
local version = tonumber(ARGV[2])
if there[2] then -- what is left of a removed task
  version = math.max(version, tonumber(there[2]) + 1)
end
version = string.format('%.0f', version)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[1] .. ':kin')
redis.call('HSET', KEYS[1], 'r', ARGV[4], 'v', version, 's', 0, 'n', 0, 't', ARGV[3], 'w', ARGV[1], 'o', ARGV[5])
local news = 'C ' .. version .. ' 0 0 ' .. ARGV[4]
for i = 3, #KEYS do
  redis.call('ZADD', KEYS[i], ARGV[5], ARGV[5] .. ' ' .. ARGV[6])
end
for i = 7, #ARGV do
  redis.call('PUBLISH', ARGV[i], news)
end
return {1, version, '0'}
