-- include: events
-- include: delayed
-- include: delete_job
-- include: parent
-- Whether a job with a deduplication id may be added. `de` is what its options say: id, ttl, extend, replace,
-- keepLastIfActive, reschedule. The key `de:<id>` names the job that owns the id.

local function span(de)
  local ttl = tonumber(de.ttl)
  return ttl and ttl > 0 and not de.keepLastIfActive and math.floor(ttl) or nil
end

-- Makes a job the owner, for as long as the options say.
local function own(key, de, id)
  local ttl = span(de)
  if ttl then
    redis.call('SET', key, id, 'PX', ttl)
  else
    redis.call('SET', key, id)
  end
end

-- An owner whose job is gone, and whose key nothing would ever end, gives way, and so does what it kept back.
local function is_stale(P, key, owner)
  return redis.call('EXISTS', P .. owner) == 0 and redis.call('PTTL', key) == -1
end

-- While the owner runs, the newest add is kept back, until `kept_back` makes it a job.
local function keep_back(P, settings, key, de, owner, row)
  if not (de.keepLastIfActive and redis.call('LPOS', P .. 'active', owner)) then return false end
  local kept = P .. 'dn:' .. de.id
  redis.call('DEL', kept)
  redis.call('HSET', kept, 'name', row.name, 'data', row.data, 'opts', row.opts, 'jid', row.id)
  if row.parent then
    redis.call('HSET', kept, 'pk', row.parent.key, 'pd', row.parent.json, 'pdk', row.parent.key .. ':dependencies')
  end
  if row.scheduler then redis.call('HSET', kept, 'rjk', row.scheduler) end
  redis.call('PERSIST', key)
  return true
end

-- The owner that is still delayed gives way to the new job, which takes over its key. A parent waits for it no longer:
-- a flow may have made the owner its child, since it was there already.
local function replace_delayed(P, settings, key, de, owner, id, now)
  if redis.call('ZREM', P .. 'delayed', owner) == 0 then return false end
  local parent_key = redis.call('HGET', P .. owner, 'parentKey')
  if parent_key then strike_child(parent_key, P .. owner, now) end
  delete_job(P .. owner)
  emit(P, 'removed', 'jobId', owner, 'prev', 'delayed')
  emit_trimmed(P, settings, 'deduplicated', 'jobId', id, 'deduplicationId', de.id, 'deduplicatedJobId', owner)
  redis.call('DEL', P .. 'dn:' .. de.id)
  if span(de) and not de.extend then
    redis.call('SET', key, id, 'KEEPTTL')
  else
    own(key, de, id)
  end
  return true
end

local function reschedule(P, settings, owner, row)
  if not redis.call('ZSCORE', P .. 'delayed', owner) then return end
  redis.call('HSET', P .. owner, 'delay', row.delay)
  put_delayed(P, owner, row.timestamp + row.delay)
  emit_trimmed(P, settings, 'delayed', 'jobId', owner, 'delay', row.timestamp + row.delay)
  mark_delayed(P)
end

-- Gives the id of the job that holds the deduplication id, or nil: the new one owns it now and may be added.
local function deduplicate(P, settings, de, row, now)
  local key = P .. 'de:' .. de.id
  local owner = redis.call('GET', key)
  local stale = owner and is_stale(P, key, owner)
  if stale then redis.call('DEL', P .. 'dn:' .. de.id) end
  if not owner or stale then
    own(key, de, row.id)
    return nil
  end
  if de.replace then
    if replace_delayed(P, settings, key, de, owner, row.id, now) then return nil end
    if keep_back(P, settings, key, de, owner, row) then
      emit_trimmed(P, settings, 'deduplicated', 'jobId', owner, 'deduplicationId', de.id, 'deduplicatedJobId', row.id)
    end
    return owner
  end
  if not keep_back(P, settings, key, de, owner, row) and de.extend and (tonumber(de.ttl) or 0) > 0 then own(key, de, owner) end
  emit_trimmed(P, settings, 'deduplicated', 'jobId', owner, 'deduplicationId', de.id, 'deduplicatedJobId', row.id)
  if de.reschedule then reschedule(P, settings, owner, row) end
  return owner
end
