-- advance: a worker has taken the pending iteration of a job scheduler; make the next one.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  now, epoch ms
--      3  the scheduler's id
--      4  id of the job that was taken
--      5  its name, for a repeatable job of BullMQ 5 whose record does not know it
--      6  its data (JSON), for the same
--      7  due ms of the next iteration; '' = counted by `every`
--      8  every, ms, where the record does not say; '' = none
--      9  options of the next one (JSON), see add_iteration
--      10 priority
--      11 1 = in front
--      12 deduplication id, '' = none
-- Returns the id of the next iteration; '' = there is none to make: the scheduler is gone, or goes on from another job.
--         Or a number, and nothing was made: -10 another job has the id that its due ms gives it, call again with the
--         next; -11 other jobs have the ids of very many iterations of `every`
-- Events: added, waiting or delayed
--
-- include: own_keys
-- include: settings
-- include: schedule

local P = KEYS[1]
local now, scheduler, job = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local score = redis.call('ZSCORE', P .. 'repeat', scheduler)
-- Ids end with their ms; only the iteration that the score names goes on, so that a retry makes no second branch.
local base, ms = string.match(job, '^(.*:)(%d+)$')
if not score or ms ~= score then return '' end
check_own_keys(P, 'wait', 'prioritized', 'delayed', 'marker', 'events')
local settings = settings_of(P, ARGV[1])
-- A full Redis refuses a script whose first write may need memory. This one does not: the schedule would end.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)

local record = P .. 'repeat:' .. scheduler
local known = redis.call('HMGET', record, 'name', 'data', 'every', 'startDate', 'offset', 'ic')
local every = tonumber(known[3] or nil) or tonumber(ARGV[8])
local due = tonumber(ARGV[7])
if not due then
  due = due_by_every(every, tonumber(known[5] or nil) or 0, tonumber(known[4] or nil), tonumber(score), now)
end
-- A job that was promoted and has ended may lie where the schedule comes now.
due = first_free(due, ARGV[7] == '' and every, 1000, function(at)
  return redis.call('EXISTS', P .. base .. ms_text(at)) == 1
end)
if not due then return ARGV[7] == '' and -11 or -10 end
local id = base .. ms_text(due)

redis.call('ZADD', P .. 'repeat', ms_text(due), scheduler)
local data = known[2] or (known[6] and '{}' or ARGV[6])
-- A repeatable job of BullMQ 5 becomes a scheduler, with its data. One whose ids are made in the oldest way does not:
-- BullMQ 5 would not find them any more.
local is_plain = base == 'repeat:' .. scheduler .. ':'
if is_plain then
  if not known[6] and not known[2] and data ~= '{}' then redis.call('HSET', record, 'data', data) end
  redis.call('HINCRBY', record, 'ic', 1)
end
add_iteration(P, settings, scheduler, id, due, {
  name = known[1] or ARGV[5], data = data, opts = ARGV[9], priority = ARGV[10], lifo = ARGV[11],
  deduplication = ARGV[12], tells_ms = not is_plain and ARGV[7] == '',
}, now)
return id
