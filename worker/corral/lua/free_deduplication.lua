-- deduplication: give an id free, if the job that asks owns it.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  deduplication id
--      2  job id
-- Returns 1, or 0: it is another's, or nobody's
-- Events: none

local key = KEYS[1] .. 'de:' .. ARGV[1]
if redis.call('GET', key) ~= ARGV[2] then return 0 end
return redis.call('DEL', key)
