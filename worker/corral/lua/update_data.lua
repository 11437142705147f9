-- data: replace a job's data.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  data, JSON
-- Returns 0, or -1: no job hash
-- Events: none

local J = KEYS[1] .. ARGV[1]
if redis.call('EXISTS', J) == 0 then return -1 end
redis.call('HSET', J, 'data', ARGV[2])
return 0
