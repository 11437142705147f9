-- await: a job that runs waits for its open children, by its own processor's wish; no attempt is counted.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  job id
--      3  token of its lock
--      4  key of the one child to wait for; '' = all that are open
-- Returns 0, or 1: none is open, the job goes on running
--         Nothing was changed on 1, -1 no job hash, -2 no lock, -6 locked by another,
--         -9 children have failed that fail their parent; -3 not active
-- Events: waiting-children
--
-- include: own_keys
-- include: settings
-- include: leave_active
-- include: events
-- include: wake

local P, now, id, child = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[4]
local J = P .. id
check_own_keys(P, 'active', 'stalled', 'waiting-children', 'marker', 'events')
if redis.call('TYPE', J).ok ~= 'hash' then return -1 end
if redis.call('EXISTS', J .. ':unsuccessful') == 1 then return -9 end
local open = J .. ':dependencies'
if child == '' and redis.call('EXISTS', open) == 0 then return 1 end
if child ~= '' and redis.call('SISMEMBER', open, child) == 0 then return 1 end
-- A full Redis refuses a script whose first write may need memory. This one does not, and the job must go on.
local settings = settings_of(P, 'v6')
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
read_locks(P, {id})
local code = leave_active(P, id, ARGV[3])
if code == 0 then
  redis.call('ZADD', P .. 'waiting-children', now, id)
  emit(P, 'waiting-children', 'jobId', id, 'prev', 'active')
  wake(P, settings)
end
drop_locks(P)
return code
