-- promote: let one delayed job run now.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns 0, or -1: no job hash, -3: it is not delayed
-- Events: waiting
--
-- include: own_keys
-- include: settings
-- include: waiting

local P, id = KEYS[1], ARGV[1]
check_own_keys(P, 'wait', 'prioritized', 'delayed', 'marker', 'events')
local J = P .. id
if redis.call('EXISTS', J) == 0 then return -1 end
local priority = priority_of(J)
if not redis.call('ZSCORE', P .. 'delayed', id) then return -3 end
put_waiting(P, settings_of(P, ARGV[2]), id, priority, false)
redis.call('ZREM', P .. 'delayed', id)
emit(P, 'waiting', 'jobId', id, 'prev', 'delayed')
redis.call('HSET', J, 'delay', 0)
return 0
