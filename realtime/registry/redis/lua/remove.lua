-- Take a task out if it is still of this version; its last version stays for a while, so that the id goes on above it.
-- KEYS: task, its output. ARGV: version, nonce, milliseconds that the version stays, then channels.
-- Returns 1, the version of the removal; or 0.
local there = redis.call('HMGET', KEYS[1], 'r', 'v', 'w')
if not there[1] and there[3] and there[3] == ARGV[2] then -- ours: the answer was lost
  return {1, there[2]}
end
if not there[1] or there[2] ~= ARGV[1] then
  return {0}
end
for _, stream in ipairs(redis.call('HKEYS', KEYS[2])) do
  redis.call('DEL', KEYS[2] .. ':' .. stream)
end
local version = string.format('%.0f', tonumber(there[2]) + 1)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[1] .. ':kin')
redis.call('HSET', KEYS[1], 'v', version, 'w', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local news = 'R ' .. version .. ' 0 0 ' .. there[1]
for i = 4, #ARGV do
  redis.call('PUBLISH', ARGV[i], news)
end
return {1, version}
