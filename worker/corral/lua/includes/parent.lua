-- include: waiting
-- include: delayed
-- include: settings
-- include: own_keys
-- What a finished child means for its parent, which may live in another queue: keys are built from `parentKey`.

-- `prefix:queue:id` taken apart at its last colon: P of the parent's queue, and its id.
local function key_parts(key)
  return string.match(key, '^(.*:)([^:]*)$')
end

-- Looks, before anything is written, whether the parent could be moved.
local function check_parent(parent_key)
  check_own_keys(key_parts(parent_key), 'wait', 'paused', 'prioritized', 'delayed', 'waiting-children', 'marker', 'events')
end

-- A parent becomes runnable: delayed, prioritized, or in front of the waiting ones.
local function run_parent(parent_key, now)
  local PP, id = key_parts(parent_key)
  local settings = settings_of(PP)
  local hash = redis.call('HMGET', parent_key, 'delay', 'priority')
  local delay, priority = tonumber(hash[1] or nil) or 0, tonumber(hash[2] or nil) or 0
  if delay > 0 then
    redis.call('ZADD', PP .. 'delayed', (now + delay) * 4096, id)
    emit(PP, 'delayed', 'jobId', id, 'delay', now + delay)
    mark_delayed(PP)
    return
  end
  if priority > 0 then
    put_waiting(PP, settings, id, priority, false)
  else
    put_front(PP, settings, id, 0)
  end
  emit(PP, 'waiting', 'jobId', id, 'prev', 'waiting-children')
end

-- The same for a parent that waits for children; any other is left alone.
local function release_parent(parent_key, now)
  local PP, id = key_parts(parent_key)
  if redis.call('EXISTS', parent_key) == 0 then return end
  if redis.call('ZREM', PP .. 'waiting-children', id) == 1 then run_parent(parent_key, now) end
end

-- Strikes a child from the open ones; true if it was among them. The last one releases the parent: while its keys are
-- damaged, the child stays among the open ones, and can be struck later. `keep_waiting`: the caller sees to the parent.
local function strike_child(parent_key, child_key, now, keep_waiting)
  local open = parent_key .. ':dependencies'
  if redis.call('SISMEMBER', open, child_key) == 0 then return false end
  local is_last = redis.call('SCARD', open) == 1
  if is_last or keep_waiting then check_parent(parent_key) end
  redis.call('SREM', open, child_key)
  if is_last and not keep_waiting then release_parent(parent_key, now) end
  return true
end

local function child_completed(parent_key, child_key, value, now)
  if redis.call('SISMEMBER', parent_key .. ':dependencies', child_key) == 0 then return end
  redis.call('HSET', parent_key .. ':processed', child_key, value)
  strike_child(parent_key, child_key, now)
end

-- The parent must fail too: told through `defa`, which the next worker that takes it obeys.
local function fail_parent(parent_key, child_key, now)
  local PP, id = key_parts(parent_key)
  redis.call('ZADD', parent_key .. ':unsuccessful', now, child_key)
  if redis.call('EXISTS', parent_key) == 0 or redis.call('ZSCORE', PP .. 'failed', id) then return end
  redis.call('HSET', parent_key, 'defa', 'child ' .. child_key .. ' failed')
  if redis.call('ZREM', PP .. 'delayed', id) == 1 then
    redis.call('HSET', parent_key, 'delay', 0)
    run_parent(parent_key, now)
  else
    release_parent(parent_key, now)
  end
end

-- `policy` is the child's `parent` JSON with at most one of its four flags.
local function child_failed(parent_key, child_key, policy_json, reason, now)
  local readable, policy = pcall(cjson.decode, policy_json or '{}')
  if not readable or type(policy) ~= 'table' then return end
  if policy.fpof then
    if strike_child(parent_key, child_key, now, true) then fail_parent(parent_key, child_key, now) end
  elseif policy.cpof then
    if strike_child(parent_key, child_key, now, true) then
      redis.call('HSET', parent_key .. ':failed', child_key, reason)
      release_parent(parent_key, now)
    end
  elseif policy.idof then
    if strike_child(parent_key, child_key, now) then
      redis.call('HSET', parent_key .. ':failed', child_key, reason)
    end
  elseif policy.rdof then
    strike_child(parent_key, child_key, now)
  end
end
