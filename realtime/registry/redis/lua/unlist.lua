-- Take a task out of lists that it is not in any more, and tell that it has left. To do it twice does no harm.
-- KEYS: when the ends of all are over, then what was removed of each room that is told, then the lists. ARGV: order, task id,
-- how many rooms are told, the version of the removal, now in microseconds, seconds that a removal is listed, news, then the
-- channels that they are told by.
local member, rooms, now, kept = ARGV[1] .. ' ' .. ARGV[2], tonumber(ARGV[3]), ARGV[5], tonumber(ARGV[6])
redis.call('HDEL', KEYS[1], member)
for i = 2, rooms + 1 do
  redis.call('ZADD', KEYS[i], now, ARGV[4] .. ' ' .. ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('%.0f', tonumber(now) - kept * 1000000))
  redis.call('EXPIRE', KEYS[i], kept)
end
for i = rooms + 2, #KEYS do
  redis.call('ZREM', KEYS[i], member)
end
for i = 8, #ARGV do
  redis.call('PUBLISH', ARGV[i], ARGV[7])
end
