-- Whose memory this is: the epoch, made anew when the store is empty or is another process than the one that made it.
-- KEYS: meta. ARGV: the server's run id, an epoch to begin with. Returns epoch, seconds, microseconds.
local known = redis.call('HMGET', KEYS[1], 'epoch', 'run')
local epoch = known[1]
if not epoch or known[2] ~= ARGV[1] then
  epoch = ARGV[2]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'run', ARGV[1])
end
local time = redis.call('TIME')
return {epoch, time[1], time[2]}
