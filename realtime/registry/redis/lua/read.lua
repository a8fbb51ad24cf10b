-- A part of a stream. KEYS: output of the task, the stream. ARGV: stream, offset, end, bytes wanted, bytes kept.
-- Returns its end, where the data begins, and the data, up to four bytes more than is wanted; nothing without a stream.
local finish = redis.call('HGET', KEYS[1], ARGV[1])
if not finish then
  return {}
end
finish = tonumber(finish)
local length = redis.call('STRLEN', KEYS[2])
local base = finish - length
local first = math.max(tonumber(ARGV[2]), finish - math.min(length, tonumber(ARGV[5])))
local last = math.min(tonumber(ARGV[3]), finish, first + tonumber(ARGV[4])) + 4
local data = ''
if first < finish then
  data = redis.call('GETRANGE', KEYS[2], first - base, last - base - 1)
end
return {finish, math.min(first, finish), data}
