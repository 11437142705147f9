-- obliterate: delete a paused queue and all its jobs, some at a time.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  1 = active jobs too, with their locks
--      3  how many jobs at most; 0 = only ask whether it may be done
--      4  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns 1: call again; 0: nothing is left; -1: the queue is not paused; -2: it has active jobs
-- Events: waiting or delayed
--
-- include: settings
-- include: discard

local P, now, left = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
tell_dialect(P, ARGV[4])
if redis.call('HEXISTS', P .. 'meta', 'paused') == 0 then return -1 end
if ARGV[2] ~= '1' and redis.call('EXISTS', P .. 'active') == 1 then return -2 end

local function discard_all(ids)
  for _, id in ipairs(ids) do discard(P, id, now) end
  left = left - #ids
end

local function empty_list(name)
  if left <= 0 then return end
  local ids = redis.call('LRANGE', P .. name, 0, left - 1)
  redis.call('LTRIM', P .. name, #ids, -1)
  if name == 'active' then
    for _, id in ipairs(ids) do redis.call('DEL', P .. id .. ':lock') end
  end
  discard_all(ids)
end

local function empty_set(name)
  if left <= 0 then return end
  local ids = redis.call('ZRANGE', P .. name, 0, left - 1)
  redis.call('ZREMRANGEBYRANK', P .. name, 0, #ids - 1)
  discard_all(ids)
end

-- The open children of a parent forget it; those in other queues run on. True when none is left.
local function free_children(J)
  local children = redis.pcall('SPOP', J .. ':dependencies', left)
  if children.err then return true end
  for _, child in ipairs(children) do
    if redis.pcall('HGET', child, 'parentKey') == J then redis.call('HDEL', child, 'parentKey', 'parent') end
  end
  left = left - #children
  return redis.call('EXISTS', J .. ':dependencies') == 0
end

local function empty_parents()
  while left > 0 do
    local id = redis.call('ZRANGE', P .. 'waiting-children', 0, 0)[1]
    if not id or not free_children(P .. id) then return end
    redis.call('ZREM', P .. 'waiting-children', id)
    discard_all({id})
  end
end

local function empty_schedulers()
  if left <= 0 then return end
  local ids = redis.call('ZRANGE', P .. 'repeat', 0, left - 1)
  for _, id in ipairs(ids) do redis.call('DEL', P .. 'repeat:' .. id) end
  redis.call('ZREMRANGEBYRANK', P .. 'repeat', 0, #ids - 1)
  left = left - #ids
end

for _, list in ipairs({'active', 'wait', 'paused'}) do empty_list(list) end
empty_schedulers()
for _, set in ipairs({'delayed', 'prioritized', 'completed', 'failed'}) do empty_set(set) end
empty_parents()
if left <= 0 then return 1 end
for _, name in ipairs({
  'events', 'delay', 'stalled-check', 'stalled', 'id', 'pc', 'marker', 'limiter', 'metrics:completed',
  'metrics:completed:data', 'metrics:failed', 'metrics:failed:data', 'corral:beats', 'corral:workers', 'corral:orders',
  'corral:look', 'meta',
}) do redis.call('DEL', P .. name) end
return 0
