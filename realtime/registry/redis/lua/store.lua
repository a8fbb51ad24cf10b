-- Store the next record of a task if nobody has changed it since the one that it was made from, and tell it.
-- KEYS: task, its output. ARGV: the nonce of the one it was made from, that of this one, status, milliseconds that the task is kept
-- ('' = for ever, it has not ended), record, then channels.
-- Returns 1, version, size, and, if that was done before, what is stored: record, written; -1 when there is no such task;
-- or, when it has changed, 0, record, version, size, written, nonce. (A version does not tell records apart: a failover may have lost one, and given it again.)
local there = redis.call('HMGET', KEYS[1], 'r', 'v', 's', 'n', 'w')
if not there[1] then
  return {-1}
end
if there[5] ~= ARGV[1] then
  if there[5] == ARGV[2] then -- ours: the answer was lost; the record may have been made anew since
    return {1, there[2], there[3], there[1], there[4]}
  end
  return {0, there[1], there[2], there[3], there[4], there[5]}
end
local version = string.format('%.0f', tonumber(there[2]) + 1)
local size = there[4]
redis.call('HSET', KEYS[1], 'r', ARGV[5], 'v', version, 's', size, 't', ARGV[3], 'w', ARGV[2])
if ARGV[4] ~= '' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[1] .. ':kin', ARGV[4])
  if redis.call('PEXPIRE', KEYS[2], ARGV[4]) == 1 then
    for _, stream in ipairs(redis.call('HKEYS', KEYS[2])) do
      redis.call('PEXPIRE', KEYS[2] .. ':' .. stream, ARGV[4])
    end
  end
end
local news = 'U ' .. version .. ' ' .. size .. ' ' .. size .. ' ' .. ARGV[5]
for i = 6, #ARGV do
  redis.call('PUBLISH', ARGV[i], news)
end
return {1, version, size}
