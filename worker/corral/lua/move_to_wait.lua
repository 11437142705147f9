-- return: a job that runs goes back to the front of its queue, by its own processor's wish; no attempt is counted.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  job id
--      3  token of its lock
-- Returns 0; nothing was changed on -1 no job hash, -2 no lock, -6 locked by another; -3 not active
-- Events: waiting
--
-- include: own_keys
-- include: settings
-- include: hand_back

local P = KEYS[1]
check_own_keys(P, 'wait', 'active', 'prioritized', 'stalled', 'marker', 'events')
local settings = settings_of(P, ARGV[1])
-- A full Redis refuses a script whose first write may need memory. This one does not, and the job must go on.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
read_locks(P, {ARGV[2]})
local code = hand_back(P, settings, ARGV[2], ARGV[3])
drop_locks(P)
return code
