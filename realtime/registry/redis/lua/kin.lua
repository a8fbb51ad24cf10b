-- Have parts count in their parent, each by the newest attempt, and the newest version of that. To do it twice does no
-- harm; to do it late neither. An id may have come back as another's task: to that belongs nothing that is older.
-- KEYS: the parent, its parts. ARGV: how many parts there may be, and the order of the parent ('' and '' = these were let in
-- before), then nine of each part: name, attempt, version, status, weight, percent, 1 if a retry is expected, task id, order.
-- Returns 1, sums; -1 when there is no such parent; 0, its status, when it takes no more parts since it has ended; -2 when
-- it has as many as it may. The sums, under a blank, are the counts of the five states, of expected retries, weight, done.
local states = {pending = 1, processing = 2, completed = 3, failed = 4, cancelled = 5}
local parent = redis.call('HMGET', KEYS[1], 'r', 't', 'o')
if not parent[1] then
  return {-1}
end
local sums = {}
for number in string.gmatch(redis.call('HGET', KEYS[2], ' ') or '0 0 0 0 0 0 0 0', '%S+') do
  sums[#sums + 1] = tonumber(number)
end
if ARGV[1] ~= '' then
  if parent[3] and parent[3] ~= ARGV[2] then -- it is not the one that was looked at
    return {-1}
  end
  if parent[2] ~= 'pending' and parent[2] ~= 'processing' then
    return {0, parent[2]}
  end
  local parts = sums[1] + sums[2] + sums[3] + sums[4] + sums[5]
  if parts >= tonumber(ARGV[1]) and redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then
    return {-2}
  end
end
local function add(status, weight, percent, awaited, sign)
  local place = states[status]
  sums[place] = sums[place] + sign
  sums[6] = sums[6] + sign * tonumber(awaited)
  sums[7] = sums[7] + sign * tonumber(weight)
  sums[8] = sums[8] + sign * tonumber(weight) * tonumber(percent)
end
for i = 3, #ARGV, 9 do
  local attempt, version, order = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 8]
  local known = redis.call('HGET', KEYS[2], ARGV[i])
  local newer = ARGV[1] ~= '' or tonumber(order) > tonumber(parent[3] or '0')
  if known then
    local line = {}
    for field in string.gmatch(known, '%S+') do
      line[#line + 1] = field
    end
    newer = attempt > tonumber(line[1]) or (attempt == tonumber(line[1]) and version > tonumber(line[2]))
    newer = newer and tonumber(order) >= tonumber(line[8])
    if newer then
      add(line[3], line[4], line[5], line[6], -1)
      order = line[8]
    end
  end
  if newer then
    add(ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], 1)
    local line = {ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], order}
    redis.call('HSET', KEYS[2], ARGV[i], table.concat(line, ' '))
  end
end
for place = 1, 8 do
  sums[place] = string.format('%.17g', sums[place])
end
sums = table.concat(sums, ' ')
redis.call('HSET', KEYS[2], ' ', sums)
local left = redis.call('PTTL', KEYS[1])
if left > 0 then -- it has ended, and its parts are known as long as it is
  redis.call('PEXPIRE', KEYS[2], left)
end
return {1, sums}
