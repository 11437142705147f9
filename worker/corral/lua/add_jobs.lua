-- add: put new jobs into the queue, all of them or (on an error of Redis) none.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  version of this library, written to `meta` where it has none
--      3  now, epoch ms
--      then nine for each job:
--         id         '' = the queue's counter
--         name, data (JSON), opts (JSON)
--         timestamp  epoch ms
--         delay      ms, counted from the timestamp
--         priority   0 = none
--         lifo       1 = in front
--         more       '' or JSON: de, parent, rjk; see add.lua
-- Returns the ids, one a job. An id that exists already is returned and its job left as it is; for a job that its
--         deduplication id turns away, the id of the job that holds that.
--         Or {code, place}, and nothing was added, because of the job at that place (from 1):
--         -5 its parent does not exist, -7 its id belongs to a job of another parent that is alive
-- Events: added, waiting, delayed or waiting-children; duplicated; deduplicated, removed
--
-- include: own_keys
-- include: settings
-- include: add

local P = KEYS[1]
check_own_keys(P, 'wait', 'prioritized', 'delayed', 'marker', 'events')
local now = tonumber(ARGV[3])

local rows, parents = {}, {}
for at = 4, #ARGV, 9 do
  local row = read_row(unpack(ARGV, at, at + 8))
  rows[#rows + 1] = row
  local code = refused(P, row)
  if row.parent and row.id ~= '' then
    -- Two rows of this call may have one id, too.
    local parent_key = parents[row.id] or row.parent.key
    parents[row.id] = parent_key
    if code == 0 and parent_key ~= row.parent.key then code = -7 end
  end
  if code < 0 then return {code, #rows} end
end

-- First, so that a full Redis refuses before anything is written.
redis.call('INCRBY', P .. 'id', 0)
redis.call('HSETNX', P .. 'meta', 'opts.maxLenEvents', 10000)
redis.call('HSETNX', P .. 'meta', 'version', ARGV[2])
local settings = settings_of(P, ARGV[1])
local ids = {}
for place, row in ipairs(rows) do ids[place] = add_job(P, settings, row, now) end
return ids
