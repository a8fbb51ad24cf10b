-- Which finished tasks have been kept long enough, the oldest end first.
-- KEYS: the ends of all, when they are over. ARGV: now, the latest that any may be over, how many to pass, and to return.
local now, latest, at, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local due = {}
while #due < most do
  local members = redis.call('ZRANGE', KEYS[1], at, at + 99)
  if #members == 0 then
    return due
  end
  local overs = redis.call('HMGET', KEYS[2], unpack(members))
  for i, member in ipairs(members) do
    local over = tonumber(overs[i] or '0')
    if over > latest then -- the clock was ahead when the task ended, and has been put right since
      redis.call('HSET', KEYS[2], member, ARGV[2])
    elseif over <= now then
      due[#due + 1] = member
    else
      return due
    end
  end
  at = at + 100
end
return due
