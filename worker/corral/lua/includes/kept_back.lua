-- include: enqueue
-- include: events
-- "Keep last if active": the newest add that a deduplication id turned away waits in `dn:<id>`, and becomes a job when
-- the owner of the id ends. `ended` is the job that has ended; one that lost the id to another meanwhile starts nothing.
local function add_kept_back(P, settings, deduplication_id, ended, now)
  local owner = redis.pcall('GET', P .. 'de:' .. deduplication_id)
  if owner and owner ~= ended then return end
  local kept = P .. 'dn:' .. deduplication_id
  local facts = redis.call('HMGET', kept, 'name', 'data', 'opts', 'jid', 'pk', 'pd', 'pdk', 'rjk')
  local name, data, opts, id, parent_key, parent, dependencies, scheduler = unpack(facts, 1, 8)
  if not (name and data and opts) then return end
  local readable, options = pcall(cjson.decode, opts)
  if not readable or type(options) ~= 'table' then options = {} end
  local delay, priority = tonumber(options.delay) or 0, tonumber(options.priority) or 0
  local count = redis.call('INCR', P .. 'id')
  id = id or string.format('%.0f', count)
  local J = P .. id
  redis.call('DEL', kept)
  -- Its own id may have been given to another job meanwhile.
  if redis.call('EXISTS', J) == 1 then
    emit(P, 'duplicated', 'jobId', id)
    return
  end
  redis.call('SET', P .. 'de:' .. deduplication_id, id)
  redis.call('HSET', J, 'name', name, 'data', data, 'opts', opts, 'timestamp', now, 'delay', delay, 'priority', priority,
    'deid', deduplication_id)
  if parent_key and parent then redis.call('HSET', J, 'parentKey', parent_key, 'parent', parent) end
  if scheduler then redis.call('HSET', J, 'rjk', scheduler) end
  emit(P, 'added', 'jobId', id, 'name', name)
  enqueue(P, settings, id, now, delay, priority, options.lifo == true)
  if dependencies then redis.call('SADD', dependencies, J) end
end
