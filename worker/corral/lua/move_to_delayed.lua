-- postpone: a job that runs goes to the delayed ones, by its own processor's wish; no attempt is counted.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  job id
--      4  token of its lock
--      5  when it is to run again, epoch ms
-- Returns 0; nothing was changed on -1 no job hash, -2 no lock, -6 locked by another; -3 not active
-- Events: delayed
--
-- include: own_keys
-- include: settings
-- include: leave_active
-- include: delayed
-- include: events
-- include: wake

local P, now, id = KEYS[1], tonumber(ARGV[1]), ARGV[3]
local J = P .. id
check_own_keys(P, 'active', 'delayed', 'stalled', 'marker', 'events')
if redis.call('TYPE', J).ok ~= 'hash' then return -1 end
local settings = settings_of(P, ARGV[2])
-- A full Redis refuses a script whose first write may need memory. This one does not, and the job must go on.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
read_locks(P, {id})
local code = leave_active(P, id, ARGV[4])
if code == 0 then
  local due = math.max(now, tonumber(ARGV[5]))
  redis.call('HSET', J, 'delay', due - now)
  put_delayed(P, id, due)
  emit_trimmed(P, settings, 'delayed', 'jobId', id, 'delay', due)
  mark_delayed(P)
  wake(P, settings)
end
drop_locks(P)
return code
