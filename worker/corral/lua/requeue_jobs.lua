-- requeue: let many jobs run that have finished, or are delayed. They go into `wait`, whatever their priority, as with
--   every BullMQ.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
--      2  state: 'completed', 'failed' or 'delayed'
--      3  highest score: epoch ms for finished ones, or '+inf'
--      4  how many at most
-- Returns how many it were
-- Events: waiting
--
-- include: own_keys
-- include: settings
-- include: waiting
-- include: reopen
-- include: chunks

local CLEARED = {completed = 'returnvalue', failed = 'failedReason'}

local P, state = KEYS[1], ARGV[2]
check_own_keys(P, 'wait', 'marker', 'events')
local settings = settings_of(P, ARGV[1])
local ids = redis.call('ZRANGEBYSCORE', P .. state, 0, ARGV[3], 'LIMIT', 0, ARGV[4])
if #ids == 0 then return 0 end

local function begin_anew(J)
  redis.call('HDEL', J, 'finishedOn', 'processedOn', CLEARED[state])
  reopen_child(J, state)
end

in_chunks(ids, function(...) redis.call('LPUSH', settings.collects, ...) end)
in_chunks(ids, function(...) redis.call('ZREM', P .. state, ...) end)
for _, id in ipairs(ids) do
  -- A foreign value under one job's key must not stop the others.
  if CLEARED[state] then pcall(begin_anew, P .. id) end
  emit_trimmed(P, settings, 'waiting', 'jobId', id, 'prev', state)
end
mark_runnable(P, settings)
return #ids
