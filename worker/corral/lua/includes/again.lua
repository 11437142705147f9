-- include: leave_active
-- include: end_facts
-- include: promote
-- include: delayed
-- The two ways by which a failed attempt will run again: `retry` and `delay`.

-- A failed attempt is over: its marks are written, and the job is out of `active`.
local function end_attempt(P, id, token, reason, stacktrace)
  local facts = end_facts(P, id)
  if not facts then return -1 end
  local code = leave_active(P, id, token)
  if code ~= 0 then return code end
  redis.call('HSET', P .. id, 'failedReason', reason, 'stacktrace', stacktrace, 'atm', facts.made)
  return 0
end

local function retry(P, settings, id, token, reason, stacktrace, lifo, now)
  promote(P, settings, now)
  local code = end_attempt(P, id, token, reason, stacktrace)
  if code ~= 0 then return code end
  put_waiting(P, settings, id, priority_of(P .. id), lifo)
  emit_trimmed(P, settings, 'waiting', 'jobId', id, 'prev', 'active')
  return 0
end

local function delay(P, settings, id, token, reason, stacktrace, delay_ms, now)
  local code = end_attempt(P, id, token, reason, stacktrace)
  if code ~= 0 then return code end
  redis.call('HSET', P .. id, 'delay', delay_ms)
  put_delayed(P, id, now + delay_ms)
  emit_trimmed(P, settings, 'delayed', 'jobId', id, 'delay', now + delay_ms)
  mark_delayed(P)
  return 0
end
