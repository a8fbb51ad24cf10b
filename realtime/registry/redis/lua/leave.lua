-- Take out a part that was let in and then not created. KEYS: the parts of the parent. ARGV: name, attempt.
-- Returns 1 if it was there.
local states = {pending = 1, processing = 2, completed = 3, failed = 4, cancelled = 5}
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then
  return 0
end
local line = {}
for field in string.gmatch(known, '%S+') do
  line[#line + 1] = field
end
if line[1] ~= ARGV[2] or line[2] ~= '0' then -- another attempt, or it is there
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
local sums = {}
for number in string.gmatch(redis.call('HGET', KEYS[1], ' '), '%S+') do
  sums[#sums + 1] = tonumber(number)
end
sums[states[line[3]]] = sums[states[line[3]]] - 1
sums[7] = sums[7] - tonumber(line[4])
for place = 1, 8 do
  sums[place] = string.format('%.17g', sums[place])
end
redis.call('HSET', KEYS[1], ' ', table.concat(sums, ' '))
return 1
