-- include: promote
-- include: chunks
-- include: delayed
-- Moves up to `want` jobs into `active`, locked with `token` for `lock_ms`.
-- Gives: jobs {id, {field, value, ...}}, ids without a readable hash, ms until the rate limit allows more,
-- due ms of the next delayed job (asked only when fewer came than wanted).

-- A worker's own rate limit beside that of the queue: the queue's decides how many jobs, the worker's for how long.
local function limited_to(settings, most, within)
  settings.max = settings.max or tonumber(most)
  settings.duration = tonumber(within) or settings.duration
  return settings
end

-- How many more jobs the window of the rate limit allows, and the ms until it ends when none.
local function allowed_by_rate(P, settings)
  if not settings.max then return math.huge, 0 end
  local started = tonumber(redis.call('GET', P .. 'limiter') or nil) or 0
  if started < settings.max then return settings.max - started, 0 end
  local left = redis.call('PTTL', P .. 'limiter')
  if left > 0 then return 0, left end
  redis.call('DEL', P .. 'limiter')
  return settings.max, 0
end

local function count_for_rate(P, settings, jobs)
  if not settings.max or jobs == 0 then return end
  if redis.call('INCRBY', P .. 'limiter', jobs) == jobs and settings.duration then
    redis.call('PEXPIRE', P .. 'limiter', settings.duration)
  end
end

-- The next `count` runnable ids: waiting ones first, then by priority.
local function pop_runnable(loose, P, count)
  local ids = redis.call('RPOP', P .. 'wait', count) or {}
  for _, id in ipairs(ids) do loose[#loose + 1] = id end
  if #ids < count then
    local popped = redis.call('ZPOPMIN', P .. 'prioritized', count - #ids)
    if #popped == 0 then redis.call('DEL', P .. 'pc') end
    for place = 1, #popped, 2 do
      ids[#ids + 1] = popped[place]
      loose[#loose + 1] = popped[place]
    end
  end
  return ids
end

-- Marks one job as taken. Gives its hash as it was before, and whether it carries a deferred failure; nil if it has
-- no readable hash.
local function hold(P, id, now, token, lock_ms, worker)
  local J = P .. id
  local hash = redis.pcall('HGETALL', J)
  if hash.err or #hash == 0 then return nil end
  local starts, deferred = 0, false
  for place = 1, #hash, 2 do
    local field = hash[place]
    if field == 'ats' then
      starts = tonumber(hash[place + 1]) or 0
    elseif field == 'defa' then
      deferred = true
    end
  end
  redis.call('SET', J .. ':lock', token, 'PX', lock_ms)
  emit(P, 'active', 'jobId', id, 'prev', 'waiting')
  if worker ~= '' then
    redis.call('HSET', J, 'processedOn', now, 'ats', starts + 1, 'pb', worker)
  else
    redis.call('HSET', J, 'processedOn', now, 'ats', starts + 1)
  end
  return hash, deferred
end

-- The take itself. `loose` tells the caller which ids are out of their list and not in `active` yet.
local function take_into(loose, P, settings, now, want, token, lock_ms, worker)
  promote(P, settings, now)
  local allowed, limited_ms = allowed_by_rate(P, settings)
  if limited_ms > 0 then return {}, {}, limited_ms, 0 end
  local count = math.min(want, allowed)
  if settings.concurrency then
    count = math.min(count, settings.concurrency - redis.call('LLEN', P .. 'active'))
  end
  if settings.paused or count <= 0 then return {}, {}, 0, 0 end
  local jobs, taken, unreadable, counted = {}, {}, {}, 0
  repeat
    -- Once more for the places of those that are no jobs: nobody would be woken for the jobs behind them.
    local free = count - #taken
    local popped = pop_runnable(loose, P, free)
    for _, id in ipairs(popped) do
      local hash, deferred = hold(P, id, now, token, lock_ms, worker)
      if hash then
        taken[#taken + 1] = id
        jobs[#jobs + 1] = {id, hash}
        if not deferred then counted = counted + 1 end
      elseif string.sub(id, 1, 2) ~= '0:' then -- markers of versions before 5 lie among the ids
        unreadable[#unreadable + 1] = id
      end
    end
  until #popped < free or #taken == count
  count_for_rate(P, settings, counted)
  local due = #jobs < want and next_due(P) or 0
  -- Into `active` last: what breaks off before is put back.
  if #taken > 0 then
    redis.call('ZADD', P .. 'marker', 0, '0')
    in_chunks(taken, function(...) redis.call('LPUSH', P .. 'active', ...) end)
  end
  -- A reply's number has 64 bits, and a producer may have sent any delay.
  return jobs, unreadable, 0, math.floor(math.max(0, math.min(due, 9007199254740991)))
end

local function take(P, ...)
  local loose = {}
  local done, jobs, unreadable, limited_ms, due = pcall(take_into, loose, P, ...)
  if done then return jobs, unreadable, limited_ms, due end
  -- A key is damaged. What is in hand goes back in front; the next take will lock it anew.
  for place = #loose, 1, -1 do
    redis.call('LREM', P .. 'wait', 0, loose[place])
    redis.call('RPUSH', P .. 'wait', loose[place])
  end
  error(jobs)
end
