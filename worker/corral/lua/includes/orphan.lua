-- What has fallen between the states: a job in none of them, or an id in one of them without a job.

-- The list or set where an id lies, or nil.
local function place_of(P, id)
  for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}) do
    if redis.call('ZSCORE', P .. set, id) then return set end
  end
  for _, list in ipairs({'active', 'wait', 'paused'}) do
    if redis.call('LPOS', P .. list, id) then return list end
  end
  return nil
end

-- A hash of another kind (a scheduler's record, a parent's values) lacks these fields. Whoever holds the lock of a job
-- that is in no list may still be running it.
local function is_orphan(P, id)
  local J = P .. id
  if redis.call('TYPE', J).ok ~= 'hash' or redis.call('EXISTS', J .. ':lock') == 1 then return false end
  local known = redis.call('HMGET', J, 'name', 'timestamp')
  return known[1] and known[2] and not place_of(P, id) and true or false
end
