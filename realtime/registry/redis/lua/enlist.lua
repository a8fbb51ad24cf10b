-- Put an unfinished task into the lists of its rooms once more, and tell that it is there.
-- KEYS: the lists of unfinished tasks that it belongs to. ARGV: order, task id, then channels.
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], ARGV[1], ARGV[1] .. ' ' .. ARGV[2])
end
for i = 3, #ARGV do
  redis.call('PUBLISH', ARGV[i], 'N ' .. ARGV[2])
end
