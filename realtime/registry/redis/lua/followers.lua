-- How many listen to channels. A key says where they are: in a cluster, who has its slot has its channels too.
-- KEYS: one beside the channels. ARGV: the channels.
-- Returns how many there are in all.
local counts, all = redis.call('PUBSUB', 'NUMSUB', unpack(ARGV)), 0
for i = 2, #counts, 2 do
  all = all + counts[i]
end
return all
