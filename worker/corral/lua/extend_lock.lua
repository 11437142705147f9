-- extend: hold one job for so long from now.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  token of its lock
--      3  how long, ms
-- Returns 0; nothing was changed on -2 no lock, -6 locked by another
-- Events: none

local P, id = KEYS[1], ARGV[1]
local lock = P .. id .. ':lock'
local holder = redis.call('GET', lock)
if holder ~= ARGV[2] then return holder and -6 or -2 end
redis.call('PEXPIRE', lock, ARGV[3]) -- not SET, which a full Redis refuses
redis.call('SREM', P .. 'stalled', id)
return 0
