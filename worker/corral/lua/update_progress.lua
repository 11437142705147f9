-- progress: store how far a job is, and tell listeners.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  progress, JSON
-- Returns 0, or -1: no job hash
-- Events: progress
--
-- include: settings
-- include: events

local P = KEYS[1]
local J = P .. ARGV[1]
if redis.call('EXISTS', J) == 0 then return -1 end
redis.call('HSET', J, 'progress', ARGV[2])
emit_trimmed(P, settings_of(P, 'v6'), 'progress', 'jobId', ARGV[1], 'data', ARGV[2])
return 0
