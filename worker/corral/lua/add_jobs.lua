-- add: put new jobs into the queue, all of them or (on an error of Redis) none.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  version of this library, written to `meta` where it has none
--      then eight for each job:
--         id         '' = the queue's counter
--         name, data (JSON), opts (JSON)
--         timestamp  epoch ms
--         delay      ms, counted from the timestamp
--         priority   0 = none
--         lifo       1 = in front
-- Returns the ids, one a job. An id that exists already is returned and its job left as it is.
-- Events: added, then waiting or delayed; duplicated
--
-- include: own_keys
-- include: settings
-- include: enqueue

local P = KEYS[1]
check_own_keys(P, 'wait', 'prioritized', 'delayed', 'marker', 'events')
local counter = P .. 'id'
-- First, so that a full Redis refuses before anything is written.
redis.call('INCRBY', counter, 0)
redis.call('HSETNX', P .. 'meta', 'opts.maxLenEvents', 10000)
redis.call('HSETNX', P .. 'meta', 'version', ARGV[2])
local settings = settings_of(P, ARGV[1])

local ids = {}
for at = 3, #ARGV, 8 do
  local count = redis.call('INCR', counter)
  local id = ARGV[at] ~= '' and ARGV[at] or string.format('%.0f', count)
  local J, name = P .. id, ARGV[at + 1]
  ids[#ids + 1] = id
  if redis.call('EXISTS', J) == 1 then
    emit_trimmed(P, settings, 'duplicated', 'jobId', id)
  else
    redis.call('HSET', J, 'name', name, 'data', ARGV[at + 2], 'opts', ARGV[at + 3], 'timestamp', ARGV[at + 4],
      'delay', ARGV[at + 5], 'priority', ARGV[at + 6])
    emit(P, 'added', 'jobId', id, 'name', name)
    enqueue(P, settings, id, tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), ARGV[at + 7] == '1')
  end
end
return ids
