-- forget: a worker has ended, and nothing is kept of it.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  the worker's id
-- Returns 1: it was known; 0: it was not
-- Events: none
--
-- include: own_keys

local P, worker = KEYS[1], ARGV[1]
check_own_keys(P, 'corral:beats', 'corral:workers', 'corral:orders')
redis.call('HDEL', P .. 'corral:workers', worker)
redis.call('HDEL', P .. 'corral:orders', worker)
return redis.call('ZREM', P .. 'corral:beats', worker)
