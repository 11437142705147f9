-- add: put whole flows into their queues, every job of them or (on an error of Redis) none.
--
-- KEYS 1  P, the base of the keys of the first root's queue
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys of each queue)
--      2  version of this library, written to each `meta` that has none
--      3  now, epoch ms
--      then ten for each job, a parent always before its children:
--         P          of the job's own queue
--         and nine as add_jobs takes them; the id may be '' for a root without children only
-- Returns the ids, one a job, as add_jobs does.
--         Or {code, place}, and nothing was added, because of the job at that place (from 1): -5, -7, as of add_jobs
-- Events: added, waiting, delayed or waiting-children; duplicated; deduplicated, removed
--
-- include: own_keys
-- include: settings
-- include: add

local now = tonumber(ARGV[3])
local rows, bases, queues, coming, waits = {}, {}, {}, {}, {}
for at = 4, #ARGV, 10 do
  local P, row = ARGV[at], read_row(unpack(ARGV, at + 1, at + 9))
  rows[#rows + 1], bases[#bases + 1], queues[P] = row, P, true
  coming[P .. row.id] = true
  if row.parent then waits[row.parent.key] = true end
end

-- All looks come before the first write.
for P in pairs(queues) do
  check_own_keys(P, 'wait', 'prioritized', 'delayed', 'waiting-children', 'marker', 'events')
end
for place, row in ipairs(rows) do
  local code = refused(bases[place], row, coming)
  if code < 0 then return {code, place} end
end

for P in pairs(queues) do
  -- First, so that a full Redis refuses before anything is written.
  redis.call('INCRBY', P .. 'id', 0)
  redis.call('HSETNX', P .. 'meta', 'opts.maxLenEvents', 10000)
  redis.call('HSETNX', P .. 'meta', 'version', ARGV[2])
  queues[P] = settings_of(P, ARGV[1])
end

local ids, parents = {}, {}
for place, row in ipairs(rows) do
  local P = bases[place]
  row.waits, row.defers = waits[P .. row.id], true
  ids[place] = add_job(P, queues[P], row, now)
  if row.parent and not parents[row.parent.key] then
    parents[row.parent.key] = true
    parents[#parents + 1] = row.parent.key
  end
end

-- Children that were completed before have been told to their parents; only now it is known who waits for nobody.
for _, key in ipairs(parents) do
  if redis.call('EXISTS', key .. ':dependencies') == 0 then release_parent(key, now) end
end
return ids
