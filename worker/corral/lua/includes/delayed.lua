-- Jobs for later: a score is due ms * 4096 plus the place among those due in the same ms.
local function put_delayed(P, id, due)
  local first = due * 4096
  local last = first + 4095
  local highest = redis.call('ZREVRANGEBYSCORE', P .. 'delayed', last, first, 'WITHSCORES', 'LIMIT', 0, 1)
  local score = first
  if highest[2] then
    score = math.min(tonumber(highest[2]) + 1, last)
  end
  redis.call('ZADD', P .. 'delayed', score, id)
end

-- Due ms of the earliest delayed job, or nil.
local function next_due(P)
  local earliest = redis.call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')
  return earliest[2] and tonumber(earliest[2]) / 4096
end

-- Tells one blocked worker when to look again.
local function mark_delayed(P)
  local due = next_due(P)
  if due then
    redis.call('ZADD', P .. 'marker', due, '1')
  end
end
