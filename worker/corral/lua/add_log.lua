-- log: add a row to a job's log.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  the row
--      3  rows kept, the newest; '' = all
-- Returns the number of rows kept, or -1: no job hash
-- Events: none

local J = KEYS[1] .. ARGV[1]
local logs = J .. ':logs'
if redis.call('EXISTS', J) == 0 then return -1 end
local rows = redis.call('RPUSH', logs, ARGV[2])
local kept = tonumber(ARGV[3])
if not kept then return rows end
if kept == 0 then
  redis.call('DEL', logs)
else
  redis.call('LTRIM', logs, -kept, -1)
end
return math.min(rows, kept)
