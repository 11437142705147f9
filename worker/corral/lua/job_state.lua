-- state: where a job is. Reads only.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
-- Returns waiting | prioritized | delayed | active | waiting-children | completed | failed | unknown
-- Events: none

local P, id = KEYS[1], ARGV[1]
for _, state in ipairs({'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}) do
  if redis.call('ZSCORE', P .. state, id) then return state end
end
if redis.call('LPOS', P .. 'active', id) then return 'active' end
if redis.call('LPOS', P .. 'wait', id) or redis.call('LPOS', P .. 'paused', id) then return 'waiting' end
return 'unknown'
