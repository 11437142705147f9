-- What has fallen between the states: a job in none of them, or an id in one of them without a job.

-- A list may be long. The ids of a few are looked up there one by one; those of many in one walk, page by page.
local function look_through(key, ids, act)
  local wanted = {}
  for _, id in ipairs(ids) do wanted[id] = true end
  for first = 0, redis.call('LLEN', key) - 1, 1000 do
    for _, id in ipairs(redis.call('LRANGE', key, first, first + 999)) do
      if wanted[id] then act(id) end
    end
  end
end

-- The list or set where each of these ids lies, by the id; none for one that lies nowhere.
local function places_of(P, ids)
  local places, rest = {}, {}
  for _, id in ipairs(ids) do
    for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}) do
      if redis.call('ZSCORE', P .. set, id) then places[id] = set end
    end
    if not places[id] then rest[#rest + 1] = id end
  end
  for _, list in ipairs({'active', 'wait', 'paused'}) do
    local function found(id) places[id] = places[id] or list end
    if #rest > 8 then
      look_through(P .. list, rest, found)
    else
      for _, id in ipairs(rest) do
        if redis.call('LPOS', P .. list, id) then found(id) end
      end
    end
  end
  return places
end

-- Keys of another queue whose prefix is this one's P without its last colon begin with P too: `bull:q:other:5`.
local function is_of_another_queue(P, id)
  local colons = 0
  for head in string.gmatch(id, '()[:]') do
    colons = colons + 1
    local meta = P .. string.sub(id, 1, head) .. 'meta'
    -- `repeat:meta` may be the record of a job scheduler; that has a name.
    if redis.call('TYPE', meta).ok == 'hash' and redis.call('HEXISTS', meta, 'name') == 0 then return true end
  end
  -- Nor does any BullMQ give a job an id with one colon.
  return colons == 1
end

-- Whether a job that lies nowhere is one. A hash of another kind (a scheduler's record, a parent's values) lacks these
-- fields. Whoever holds the lock of a job that is in no list may still be running it.
local function is_lost_job(P, id)
  local J = P .. id
  if redis.call('TYPE', J).ok ~= 'hash' or redis.call('EXISTS', J .. ':lock') == 1 then return false end
  local known = redis.call('HMGET', J, 'name', 'timestamp')
  return known[1] and known[2] and not is_of_another_queue(P, id) or false
end
