-- clean: remove old jobs of one state. A running job stays, and so does the pending iteration of a job scheduler.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  'wait', 'paused', 'active', 'prioritized', 'delayed', 'completed' or 'failed'
--      2  now, epoch ms
--      3  jobs of this time and older ones go, epoch ms
--      4  how many go at most
--      5  how many it looks at, the oldest first
--      6  how many of the oldest it leaves out, because an earlier call has left them there
-- Returns {ids that are gone, how many it looked at}
-- Events: cleaned; waiting or delayed
--
-- include: chunks
-- include: events
-- include: scheduled
-- include: discard

local LISTS = {wait = true, paused = true, active = true}
-- What tells a job's time, the first that is there.
local TIMES = {prioritized = {'timestamp'}, delayed = {'processedOn', 'timestamp'}}
local LIST_TIMES = {'finishedOn', 'processedOn', 'timestamp'}

local P, name, now, newest = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local most, look, skip = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local key, finished = P .. name, name == 'completed' or name == 'failed'

local function oldest()
  if finished then return redis.call('ZRANGEBYSCORE', key, '-inf', newest, 'LIMIT', skip, look) end
  if not LISTS[name] then return redis.call('ZRANGE', key, skip, skip + look - 1) end
  local ids, from_tail = {}, redis.call('LRANGE', key, -(skip + look), -(skip + 1))
  for place = #from_tail, 1, -1 do ids[#ids + 1] = from_tail[place] end
  return ids
end

local function is_old(J)
  local times = redis.pcall('HMGET', J, unpack(TIMES[name] or LIST_TIMES))
  if times.err then return false end
  for _, time in ipairs(times) do
    if time then return (tonumber(time) or 0) <= newest end
  end
  return true
end

local function may_go(id)
  if finished then return true end
  if name == 'active' and redis.call('EXISTS', P .. id .. ':lock') == 1 then return false end
  return not is_pending_iteration(P, id) and is_old(P .. id)
end

-- Their places are known: marked there, they go in one walk through the list.
local function leave_list(places)
  -- A full Redis refuses to mark, unless the script has written before.
  redis.call('LTRIM', key, 0, -1)
  for _, place in ipairs(places) do redis.call('LSET', key, -(skip + place), '0:') end
  redis.call('LREM', key, 0, '0:')
end

local gone, places, looked = {}, {}, 0
for place, id in ipairs(oldest()) do
  if #gone == most then break end
  looked = place
  if may_go(id) then
    gone[#gone + 1] = id
    places[#places + 1] = place
  end
end
if LISTS[name] then
  if #gone > 0 then leave_list(places) end
  if name == 'active' then in_chunks(gone, function(...) redis.call('SREM', P .. 'stalled', ...) end) end
else
  in_chunks(gone, function(...) redis.call('ZREM', key, ...) end)
end
for _, id in ipairs(gone) do discard(P, id, now) end
if #gone > 0 or skip == 0 then
  -- A full Redis refuses it, but not the cleaning.
  pcall(function() emit(P, 'cleaned', 'count', #gone) end)
end
return {gone, looked}
