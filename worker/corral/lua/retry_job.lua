-- retry: let one finished job run again.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  the state that it must be in: 'completed' or 'failed'
--      4  lifo: 1 = in front
--      5  1 = its attempts count from 0 again
--      6  1 = so do the times it was taken
-- Returns 0, or -1: no job hash, -3: it is not in that state
-- Events: waiting
--
-- include: own_keys
-- include: settings
-- include: waiting
-- include: reopen

local P, id, state = KEYS[1], ARGV[1], ARGV[3]
check_own_keys(P, 'wait', 'prioritized', 'marker', 'events')
local J = P .. id
if redis.call('EXISTS', J) == 0 then return -1 end
local priority = priority_of(J)
if not redis.call('ZSCORE', P .. state, id) then return -3 end
local settings = settings_of(P, ARGV[2])
put_waiting(P, settings, id, priority, ARGV[4] == '1')
redis.call('ZREM', P .. state, id)
redis.call('HDEL', J, 'finishedOn', 'processedOn', state == 'failed' and 'failedReason' or 'returnvalue')
if ARGV[5] == '1' then redis.call('HDEL', J, 'atm') end
if ARGV[6] == '1' then redis.call('HDEL', J, 'ats') end
emit_trimmed(P, settings, 'waiting', 'jobId', id, 'prev', state)
reopen_child(J, state)
return 0
