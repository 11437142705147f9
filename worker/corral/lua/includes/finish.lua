-- include: leave_active
-- include: end_facts
-- include: parent
-- include: events
-- include: kept_back
-- include: troubles
-- include: delete_job
-- The two ends of a job: `complete` and `fail`.

-- A job removed by retention no longer holds up its parent.
local function trim_job(P, set, id, now)
  local J = P .. id
  redis.call('ZREM', set, id)
  local parent_key = redis.pcall('HGET', J, 'parentKey')
  if type(parent_key) == 'string' then attempt('parent ' .. parent_key, strike_child, parent_key, J, now) end
  delete_job(J)
end

-- `keep` is `count:age:limit`, parts empty when there is no bound; '' keeps all. What is beyond a thousand at once goes
-- with the next ends: a script holds up everybody.
local function retain(P, set, keep, now)
  local count, age, limit = string.match(keep, '^(%d*):(%d*):(%d*)$')
  count, age, limit = tonumber(count), tonumber(age), tonumber(limit)
  if age then
    local oldest = now - age * 1000
    for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', set, oldest, 0, 'LIMIT', 0, limit or 1000)) do
      trim_job(P, set, id, now)
    end
  end
  if count then
    local surplus = math.min(redis.call('ZCARD', set) - count, 1000)
    if surplus > 0 then
      for _, id in ipairs(redis.call('ZRANGE', set, 0, surplus - 1)) do trim_job(P, set, id, now) end
    end
  end
end

-- The owner of a deduplication id gives it free at its end, unless a TTL decides.
local function free_deduplication(P, id, deduplication_id)
  local key = P .. 'de:' .. deduplication_id
  local ttl = redis.call('PTTL', key)
  if ttl == 0 or (ttl == -1 and redis.call('GET', key) == id) then redis.call('DEL', key) end
end

-- Lays a finished job into its set, or deletes it. `field` is `returnvalue` or `failedReason`.
local function lay_down(P, id, set, field, text, made, keep, now)
  local J = P .. id
  if string.sub(keep, 1, 2) == '0:' then
    trim_job(P, P .. set, id, now)
    return
  end
  redis.call('ZADD', P .. set, now, id)
  redis.call('HSET', J, 'atm', made, field, text, 'finishedOn', now)
  if keep ~= '' then retain(P, P .. set, keep, now) end
end

-- What both ends do before anything is laid down. Gives 0 or the code of why not.
local function let_go(P, settings, id, token, deduplication_id, now)
  local code = leave_active(P, id, token)
  if code == 0 and deduplication_id then
    attempt('deduplication id ' .. deduplication_id, free_deduplication, P, id, deduplication_id)
    attempt('job kept back by ' .. deduplication_id, add_kept_back, P, settings, deduplication_id, id, now)
  end
  return code
end

local function complete(P, settings, id, token, value, keep, now)
  local J = P .. id
  local facts = end_facts(P, id)
  if not facts then return -1 end
  if redis.call('EXISTS', J .. ':dependencies', J .. ':unsuccessful') > 0 then
    return redis.call('EXISTS', J .. ':dependencies') == 1 and -4 or -9
  end
  local code = let_go(P, settings, id, token, facts.deduplication_id, now)
  if code ~= 0 then return code end
  if facts.parent_key then
    attempt('parent ' .. facts.parent_key, child_completed, facts.parent_key, J, value, now)
  end
  lay_down(P, id, 'completed', 'returnvalue', value, facts.made, keep, now)
  emit(P, 'completed', 'jobId', id, 'returnvalue', value, 'prev', 'active')
  return 0
end

local function fail(P, settings, id, token, reason, stacktrace, exhausted, keep, now)
  local J = P .. id
  local facts = end_facts(P, id)
  if not facts then return -1 end
  local code = let_go(P, settings, id, token, facts.deduplication_id, now)
  if code ~= 0 then return code end
  redis.call('HSET', J, 'stacktrace', stacktrace)
  if facts.parent_key then
    attempt('parent ' .. facts.parent_key, child_failed, facts.parent_key, J, facts.parent, reason, now)
  end
  -- After that, for a job that somebody has made its own parent.
  redis.call('HDEL', J, 'defa')
  lay_down(P, id, 'failed', 'failedReason', reason, facts.made, keep, now)
  emit(P, 'failed', 'jobId', id, 'failedReason', reason, 'prev', 'active')
  if exhausted then emit(P, 'retries-exhausted', 'jobId', id, 'attemptsMade', facts.made) end
  return 0
end
