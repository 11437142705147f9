-- priority: give a job another priority, and its place if it waits to be taken.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  priority, 0 = none
--      4  lifo: 1 = in front of its equals
-- Returns 0, or -1: no job hash
-- Events: none
--
-- include: own_keys
-- include: settings
-- include: waiting

local P, id, priority = KEYS[1], ARGV[1], tonumber(ARGV[3])
check_own_keys(P, 'wait', 'paused', 'prioritized', 'marker')
if redis.call('EXISTS', P .. id) == 0 then return -1 end
redis.call('HSET', P .. id, 'priority', priority)

local function leave_place()
  return redis.call('ZREM', P .. 'prioritized', id) == 1
    or redis.call('LREM', P .. 'wait', -1, id) == 1
    or redis.call('LREM', P .. 'paused', -1, id) == 1
end

local settings = settings_of(P, ARGV[2])
if not leave_place() then return 0 end
if priority > 0 and ARGV[4] == '1' then
  put_front(P, settings, id, priority)
else
  put_waiting(P, settings, id, priority, ARGV[4] == '1')
end
return 0
