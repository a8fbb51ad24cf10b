-- Note that a task has ended: it moves from the lists of unfinished tasks to those of finished ones.
-- KEYS: meta, the ends of all, when they are over, the ends of its user (or of all, where there is none), then by turns
-- the list of unfinished and of finished tasks of each room; in the place of all tasks' finished ones, the ends of all.
-- ARGV: order, task id, seconds since 1970 when the retention is over.
-- Returns how many ends there are, and how many of the user. To do it twice does no harm, and puts right what is in both.
local member = ARGV[1] .. ' ' .. ARGV[2]
if not redis.call('ZSCORE', KEYS[2], member) then
  local place = redis.call('HINCRBY', KEYS[1], 'ends', 1)
  redis.call('ZADD', KEYS[2], place, member)
  redis.call('HSET', KEYS[3], member, ARGV[3])
  if KEYS[4] ~= KEYS[2] then
    redis.call('ZADD', KEYS[4], place, member)
  end
  for i = 5, #KEYS, 2 do
    if KEYS[i + 1] ~= KEYS[2] then
      redis.call('ZADD', KEYS[i + 1], ARGV[1], member)
    end
  end
end
for i = 5, #KEYS, 2 do
  redis.call('ZREM', KEYS[i], member)
end
return {redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[4])}
