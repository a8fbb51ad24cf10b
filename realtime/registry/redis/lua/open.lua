-- Whose memory this is: the epoch, made anew when the store is empty, or when a server that had some of the tasks has none
-- any more: it was started anew, or another has taken its place, and writes may be lost.
-- KEYS: meta. ARGV: the run ids of the servers with tasks ('' = this one), an epoch to begin with, whether it is certain
-- that these are all ('' = no: then nothing is returned where a server is missing), the epoch that is over ('' = none).
-- Returns epoch, seconds, microseconds, when the epoch began, in seconds ('0' = long ago), run ids.
local known, time = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'born'), redis.call('TIME')
local epoch, there, lost = known[1], {}, not known[1] or known[1] == ARGV[4]
local runs = ARGV[1]
if runs == '' then
  -- A caller may have been told by a server that is not there any more.
  runs = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '-'
end
for run in string.gmatch(runs, '%S+') do
  there[run] = true
end
for run in string.gmatch(known[2] or '', '%S+') do
  lost = lost or not there[run]
end
if lost and epoch and ARGV[3] == '' then
  return {}
end
if lost then
  epoch, known[3] = ARGV[2], time[1]
  redis.call('HSET', KEYS[1], 'born', time[1])
  redis.call('HDEL', KEYS[1], 'marks')
end
if lost or known[2] ~= runs then
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'run', runs)
end
return {epoch, time[1], time[2], known[3] or '0', runs}
