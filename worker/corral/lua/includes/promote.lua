-- include: waiting
-- Due delayed jobs become waiting ones, at most 1000 a call, also while the queue is paused.

local function promote_one(P, settings, id)
  local J = P .. id
  -- A foreign value under the job's key must not stop the others: the take reports it.
  local known = redis.pcall('HMGET', J, 'priority', 'delay')
  local priority = not known.err and tonumber(known[1] or nil) or 0
  if priority > 0 then
    redis.call('ZADD', P .. 'prioritized', next_in_class(P, priority), id)
  else
    redis.call('LPUSH', settings.collects, id)
  end
  redis.call('ZREM', P .. 'delayed', id)
  emit(P, 'waiting', 'jobId', id, 'prev', 'delayed')
  if not known.err and known[2] then
    redis.call('HSET', J, 'delay', 0)
  end
end

local function promote(P, settings, now)
  local due = redis.call('ZRANGEBYSCORE', P .. 'delayed', '-inf', (now + 1) * 4096 - 1, 'LIMIT', 0, 1000)
  if #due == 0 then return end
  for _, id in ipairs(due) do promote_one(P, settings, id) end
  mark_runnable(P, settings)
end
