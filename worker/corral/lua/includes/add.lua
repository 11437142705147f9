-- include: enqueue
-- include: parent
-- include: deduplicate
-- One new job, from the nine arguments that every add sends for it.

-- `more` is '' for most jobs, else JSON: de {id, ...}, parent {key, json}, rjk.
-- Whoever adds a whole flow also sets on the row: waits (for children that come after it), defers (the release of its
-- parent, until all its children are there).
local function read_row(id, name, data, opts, timestamp, delay, priority, lifo, more)
  local row = more == '' and {} or cjson.decode(more)
  row.id, row.name, row.data, row.opts = id, name, data, opts
  row.timestamp, row.delay, row.priority, row.lifo = tonumber(timestamp), tonumber(delay), tonumber(priority), lifo == '1'
  row.scheduler = row.rjk
  return row
end

-- Why a row cannot be added: -5 (no such parent), -7 (the id belongs to a job of another parent); 0 = it can.
-- `coming`: keys of jobs that the same call adds.
local function refused(P, row, coming)
  if not row.parent then return 0 end
  if not (coming and coming[row.parent.key]) and redis.call('EXISTS', row.parent.key) == 0 then return -5 end
  if row.id == '' then return 0 end
  local held = redis.call('HGET', P .. row.id, 'parentKey')
  if held and held ~= row.parent.key and redis.call('EXISTS', held) == 1 then return -7 end
  return 0
end

-- Whether a job has failed already, and its parent has noted that, or asked for no note: there is no end to wait for.
-- (Once it is retried it is open again, as `reopen.lua` says.)
local function failed_before(P, row)
  local J, key = P .. row.id, row.parent.key
  if type(redis.pcall('ZSCORE', P .. 'failed', row.id)) ~= 'string' then return false end
  if redis.call('ZSCORE', key .. ':unsuccessful', J) or redis.call('HEXISTS', key .. ':failed', J) == 1 then return true end
  local readable, policy = pcall(cjson.decode, row.parent.json)
  return readable and type(policy) == 'table' and policy.rdof
end

-- A job with this id exists: it stays as it is, and becomes the parent's child if it has none.
local function attach_existing(P, settings, row, now)
  local J = P .. row.id
  if row.parent and refused(P, row) == 0 then
    local parent_key = row.parent.key
    redis.call('HSET', J, 'parentKey', parent_key, 'parent', row.parent.json)
    local completed = redis.call('ZSCORE', P .. 'completed', row.id)
    if completed then
      redis.call('HSET', parent_key .. ':processed', J, redis.call('HGET', J, 'returnvalue') or 'null')
    end
    if completed or failed_before(P, row) then
      redis.call('SREM', parent_key .. ':dependencies', J)
      if not row.defers and redis.call('EXISTS', parent_key .. ':dependencies') == 0 then
        release_parent(parent_key, now)
      end
    else
      redis.call('SADD', parent_key .. ':dependencies', J)
    end
  end
  emit_trimmed(P, settings, 'duplicated', 'jobId', row.id)
end

local function store_job(P, row)
  local J = P .. row.id
  redis.call('HSET', J, 'name', row.name, 'data', row.data, 'opts', row.opts, 'timestamp', row.timestamp, 'delay',
    row.delay, 'priority', row.priority)
  if row.parent then redis.call('HSET', J, 'parentKey', row.parent.key, 'parent', row.parent.json) end
  if row.scheduler then redis.call('HSET', J, 'rjk', row.scheduler) end
  if row.de then redis.call('HSET', J, 'deid', row.de.id) end
  emit(P, 'added', 'jobId', row.id, 'name', row.name)
end

-- Gives the id under which the job is known, and whether it is a new one.
local function add_job(P, settings, row, now)
  local count = redis.call('INCR', P .. 'id')
  if row.id == '' then
    row.id = string.format('%.0f', count)
  elseif redis.call('EXISTS', P .. row.id) == 1 then
    attach_existing(P, settings, row, now)
    return row.id, false
  end
  local owner = row.de and deduplicate(P, settings, row.de, row, now)
  if owner then return owner, false end
  store_job(P, row)
  if row.waits then
    redis.call('ZADD', P .. 'waiting-children', row.timestamp, row.id)
    emit_trimmed(P, settings, 'waiting-children', 'jobId', row.id)
  else
    enqueue(P, settings, row.id, row.timestamp, row.delay, row.priority, row.lifo)
  end
  if row.parent then redis.call('SADD', row.parent.key .. ':dependencies', P .. row.id) end
  return row.id, true
end
