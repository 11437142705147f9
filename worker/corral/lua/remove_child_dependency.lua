-- untie: let a job's parent no longer wait for it, nor know it. The last child untied releases the parent.
--
-- KEYS 1  P, the base of the keys of the child's queue
-- ARGV 1  now, epoch ms
--      2  id of the child
--      3  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns 1; 0: no parent waits for it; -1 there is no such job, -5 its parent is gone
-- Events: waiting or delayed
--
-- include: settings
-- include: parent

tell_dialect(KEYS[1], ARGV[3])
local J = KEYS[1] .. ARGV[2]
if redis.call('EXISTS', J) == 0 then return -1 end
local parent_key = redis.call('HGET', J, 'parentKey')
if not parent_key then return 0 end
if redis.call('EXISTS', parent_key) == 0 then return -5 end
if not strike_child(parent_key, J, tonumber(ARGV[1])) then return 0 end
redis.call('HDEL', J, 'parentKey', 'parent')
return 1
