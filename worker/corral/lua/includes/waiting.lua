-- include: events
-- Putting a job where workers find it, and waking one.

-- Wakes one blocked worker, unless none could take: paused, or at the global concurrency.
local function mark_runnable(P, settings)
  if settings.paused then return end
  if settings.concurrency and redis.call('LLEN', P .. 'active') >= settings.concurrency then return end
  redis.call('ZADD', P .. 'marker', 0, '0')
end

-- Score in `prioritized`: by priority, then in the order of arrival. 2^32 leaves room for the counter.
local function next_in_class(P, priority)
  return priority * 4294967296 + redis.call('INCR', P .. 'pc') % 4294967296
end

-- At the end of its queue: behind those that wait (or, with `lifo`, in front of them).
local function put_waiting(P, settings, id, priority, lifo)
  if priority > 0 then
    redis.call('ZADD', P .. 'prioritized', next_in_class(P, priority), id)
  elseif lifo then
    redis.call('RPUSH', settings.collects, id)
  else
    redis.call('LPUSH', settings.collects, id)
  end
  mark_runnable(P, settings)
end

-- In front of its queue, or of its class of priority.
local function put_front(P, settings, id, priority)
  if priority > 0 then
    redis.call('ZADD', P .. 'prioritized', priority * 4294967296, id)
  else
    redis.call('RPUSH', settings.collects, id)
  end
  mark_runnable(P, settings)
end

local function priority_of(J)
  return tonumber(redis.call('HGET', J, 'priority') or nil) or 0
end
