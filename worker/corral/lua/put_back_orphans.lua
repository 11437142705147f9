-- restore: put jobs that are in no list or set where their hashes say that they belong.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      then the ids of the jobs
-- Returns how many were put back; one that is somewhere by now stays there
-- Events: waiting, delayed, waiting-children
--
-- include: own_keys
-- include: settings
-- include: enqueue
-- include: orphan

local P, now = KEYS[1], tonumber(ARGV[1])
check_own_keys(P, 'wait', 'prioritized', 'delayed', 'waiting-children', 'marker', 'events')
local settings = settings_of(P, ARGV[2])

local function number(field)
  return tonumber(field or nil) or 0
end

local function put_back(id)
  local J = P .. id
  local facts = redis.call('HMGET', J, 'finishedOn', 'returnvalue', 'timestamp', 'delay', 'priority')
  if facts[1] then
    redis.call('ZADD', P .. (facts[2] and 'completed' or 'failed'), number(facts[1]), id)
  elseif redis.call('EXISTS', J .. ':dependencies') == 1 then
    redis.call('ZADD', P .. 'waiting-children', now, id)
    emit_trimmed(P, settings, 'waiting-children', 'jobId', id)
  else
    local timestamp, delay = number(facts[3]), number(facts[4])
    if delay > 0 and timestamp + delay <= now then
      delay = 0
      redis.call('HSET', J, 'delay', 0)
    end
    enqueue(P, settings, id, timestamp, delay, number(facts[5]), false)
  end
end

local moved, ids = 0, {unpack(ARGV, 3)}
local places = places_of(P, ids)
for _, id in ipairs(ids) do
  if not places[id] and is_lost_job(P, id) then
    put_back(id)
    places[id] = 'its own'
    moved = moved + 1
  end
end
return moved
