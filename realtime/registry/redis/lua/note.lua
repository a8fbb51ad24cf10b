-- What is noted for one: claims, each as long as its time is not over; and what was written, of which the oldest goes
-- when it is too much.
-- KEYS: the texts by name, a hash, with the bytes of those that were written under ''; those that were written, and
-- claims, by when their time is over, in milliseconds.
-- ARGV: a name, a text ('' = forget what is noted), milliseconds, the most bytes to keep ('' = this is a claim: it does
-- not take the place of what there is).
-- Returns what is noted then, '' if nothing.
local name, text, most = ARGV[1], ARGV[2], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What one takes beside its text, more or less.
local beside = 512

local function forget(old)
  local size = redis.call('HSTRLEN', KEYS[1], old)
  redis.call('HDEL', KEYS[1], old)
  redis.call('ZREM', KEYS[3], old)
  if redis.call('ZREM', KEYS[2], old) == 1 then
    redis.call('HINCRBY', KEYS[1], '', -size - beside)
  end
end

for i = 2, 3 do
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now)) do
    forget(old)
  end
end
if text ~= '' and not most then
  local found = redis.call('HGET', KEYS[1], name)
  if found then
    return found
  end
else
  forget(name)
end
if text == '' then
  return text
end
redis.call('HSET', KEYS[1], name, text)
redis.call('ZADD', KEYS[most and 2 or 3], string.format('%.0f', now + ARGV[3]), name)
if most then
  local all = redis.call('HINCRBY', KEYS[1], '', #text + beside)
  while all > most do
    forget(redis.call('ZRANGE', KEYS[2], 0, 0)[1])
    all = tonumber(redis.call('HGET', KEYS[1], ''))
  end
end
-- Who does not come back leaves nothing behind.
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', key, ARGV[3])
  end
end
return text
