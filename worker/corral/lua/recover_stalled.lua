-- recover: put back jobs whose worker died, and mark the active ones for the next look.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  interval between two looks, ms; a look within it does nothing
--      4  how often a job may stall; once more and the next worker to take it fails it
-- Returns the ids put back
-- Events: waiting, stalled
--
-- include: own_keys
-- include: settings
-- include: waiting
-- include: chunks

local P = KEYS[1]
check_own_keys(P, 'wait', 'active', 'prioritized', 'stalled', 'marker', 'events')
if redis.call('EXISTS', P .. 'stalled-check') == 1 then return {} end
local settings = settings_of(P, ARGV[2])
-- First, so that a full Redis lets the rest pass: the jobs of a dead worker must go on.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
redis.call('SET', P .. 'stalled-check', ARGV[1], 'PX', ARGV[3])

-- An iteration of a living job scheduler is never given up: its schedule would end with it.
local function is_scheduled(J)
  local scheduler = redis.call('HGET', J, 'rjk')
  return scheduler and redis.call('ZSCORE', P .. 'repeat', scheduler) and true or false
end

local recovered = {}
local suspects = redis.call('SMEMBERS', P .. 'stalled')
redis.call('DEL', P .. 'stalled')
for _, id in ipairs(suspects) do
  local J = P .. id
  if redis.call('EXISTS', J .. ':lock') == 0 and redis.call('LREM', P .. 'active', 1, id) > 0
    and redis.call('TYPE', J).ok == 'hash' then
    local stalls = (tonumber(redis.call('HGET', J, 'stc') or nil) or 0) + 1
    redis.call('HSET', J, 'stc', stalls)
    if stalls > tonumber(ARGV[4]) and not is_scheduled(J) then
      redis.call('HSET', J, 'defa', 'job stalled more than allowable limit')
    end
    put_front(P, settings, id, 0)
    emit(P, 'waiting', 'jobId', id, 'prev', 'active')
    emit(P, 'stalled', 'jobId', id)
    recovered[#recovered + 1] = id
  end
end
local active = redis.call('LRANGE', P .. 'active', 0, -1)
in_chunks(active, function(...) redis.call('SADD', P .. 'stalled', ...) end)
return recovered
