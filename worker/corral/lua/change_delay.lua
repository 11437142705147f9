-- delay: give a delayed job another time.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  now, epoch ms
--      3  ms from now on
-- Returns 0, or -1: no job hash, -3: it is not delayed
-- Events: delayed
--
-- include: own_keys
-- include: settings
-- include: delayed
-- include: events

local P, id, delay = KEYS[1], ARGV[1], tonumber(ARGV[3])
check_own_keys(P, 'delayed', 'marker', 'events')
local J, due = P .. id, tonumber(ARGV[2]) + delay
if redis.call('EXISTS', J) == 0 then return -1 end
if not redis.call('ZSCORE', P .. 'delayed', id) then return -3 end
redis.call('HSET', J, 'delay', delay)
put_delayed(P, id, due)
local settings = settings_of(P, '')
emit_trimmed(P, settings, 'delayed', 'jobId', id, 'delay', due)
mark_delayed(P)
return 0
