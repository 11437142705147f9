-- upsert: make a job scheduler or change it, and put its next iteration in place of the pending one.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  version of this library, written to `meta` where it has none
--      3  now, epoch ms
--      4  the scheduler's id
--      5  due ms of the next iteration; '' = counted by `every`
--      6  name of the iterations
--      7  their data (JSON)
--      8  their options as the record keeps them (JSON), '{}' = none
--      9  their options as the next one has them (JSON), see add_iteration
--      10 priority
--      11 1 = in front
--      12 deduplication id, '' = none
--      13 every, ms
--      14 pattern
--      15 tz
--      16 limit
--      17 startDate, epoch ms
--      18 endDate, epoch ms
--      19 offset, ms; 13 to 19: '' = none
-- Returns {id, due ms} of the next iteration. Or one number, and nothing was changed:
--         -10 another job has the id of the next iteration, -11 the same for every one of many iterations,
--         -12 as -10, of a scheduler that has a pending one: ask for the pattern's next time,
--         -13 the scheduler's id would put its record in place of a job
-- Events: added, waiting or delayed
--
-- include: own_keys
-- include: settings
-- include: schedule
-- include: delete_job
-- include: owned_id

local P = KEYS[1]
check_own_keys(P, 'wait', 'paused', 'prioritized', 'delayed', 'marker', 'events')
-- First, so that a full Redis refuses before anything is written.
redis.call('INCRBY', P .. 'id', 0)
redis.call('HSETNX', P .. 'meta', 'opts.maxLenEvents', 10000)
redis.call('HSETNX', P .. 'meta', 'version', ARGV[2])
local settings = settings_of(P, ARGV[1])
local now, scheduler = tonumber(ARGV[3]), ARGV[4]
local record = P .. 'repeat:' .. scheduler
local every, offset = tonumber(ARGV[13]), tonumber(ARGV[19]) or 0

local function iteration_id(due)
  return 'repeat:' .. scheduler .. ':' .. ms_text(due)
end

-- The pending iteration is in one of these, or a worker has it. A paused queue of BullMQ 5 keeps its own list.
local function find_pending(id)
  for _, name in ipairs({'delayed', 'prioritized'}) do
    if redis.call('ZSCORE', P .. name, id) then return name end
  end
  for _, name in ipairs({'wait', 'paused'}) do
    if redis.call('LPOS', P .. name, id) then return name end
  end
end

local function remove_pending(id, place)
  if place == 'wait' or place == 'paused' then
    redis.call('LREM', P .. place, 1, id)
  else
    redis.call('ZREM', P .. place, id)
  end
  local deduplication = redis.call('HGET', P .. id, 'deid')
  if deduplication then free_owned_id(P, id, deduplication) end
  delete_job(P .. id)
end

local score = redis.call('ZSCORE', P .. 'repeat', scheduler)
local previous = score and tonumber(score)
-- A job whose id begins with `repeat:`, like an iteration of a scheduler whose id is the rest.
if not score and redis.call('HEXISTS', record, 'timestamp') == 1 then return -13 end
local pending = score and 'repeat:' .. scheduler .. ':' .. score
local place = pending and redis.call('EXISTS', P .. pending) == 1 and find_pending(pending)
local kept = redis.call('HMGET', record, 'every', 'offset', 'ic')
local same_every = every and previous and tonumber(kept[1] or nil) == every
-- Who changes only the data stays on the grid.
if same_every and offset == 0 then offset = tonumber(kept[2] or nil) or 0 end

-- What is decided first: the ms, and that no other job is in its way.
local due, grid = tonumber(ARGV[5]), offset
if every then
  due, grid = due_by_every(every, offset, tonumber(ARGV[17]), same_every and previous or nil, now)
  if place and same_every then due = previous end
end
local function taken(at)
  local id = iteration_id(at)
  return redis.call('EXISTS', P .. id) == 1 and not (place and id == pending)
end
due = first_free(due, every, 33, taken)
if not due then return every and -11 or place and -12 or -10 end

if place then remove_pending(pending, place) end
local fields = {'name', ARGV[6], 'offset', ms_text(grid), 'ic', kept[3] or '1'}
local names = {[13] = 'every', [14] = 'pattern', [15] = 'tz', [16] = 'limit', [17] = 'startDate', [18] = 'endDate'}
for at, name in pairs(names) do
  if ARGV[at] ~= '' then
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[at]
  end
end
for at, name in pairs({[7] = 'data', [8] = 'opts'}) do
  if ARGV[at] ~= '{}' then
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[at]
  end
end
redis.call('DEL', record)
redis.call('HSET', record, unpack(fields))
redis.call('ZADD', P .. 'repeat', ms_text(due), scheduler)
local id = iteration_id(due)
add_iteration(P, settings, scheduler, id, due, {
  name = ARGV[6], data = ARGV[7], opts = ARGV[9], priority = ARGV[10], lifo = ARGV[11], deduplication = ARGV[12],
}, now)
return {id, due}
