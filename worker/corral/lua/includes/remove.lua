-- include: settings
-- include: parent
-- include: delete_job
-- include: scheduled
-- include: owned_id
-- Removing a job from whatever state it is in, alone or with all that is below it.
-- Who uses it: remove_job (one job, on somebody's wish: `remove_job`) and remove_unprocessed_children (`remove_below`).
-- Events: removed; waiting or delayed of a parent whose last open child this was.

-- Takes a job out of its state, and gives that state as `removed` tells it.
local function leave_state(P, id)
  for _, set in ipairs({'completed', 'waiting-children', 'delayed', 'failed', 'prioritized'}) do
    if redis.call('ZREM', P .. set, id) == 1 then return set end
  end
  for _, list in ipairs({'wait', 'paused', 'active'}) do
    if redis.call('LREM', P .. list, 1, id) == 1 then
      if list == 'active' then redis.call('SREM', P .. 'stalled', id) end
      return list
    end
  end
  return 'unknown'
end

-- Keys of a job's children; `open_only` leaves out those that have ended.
local function children_of(J, open_only)
  local keys = {}
  local function gather(found)
    for _, key in ipairs(found) do keys[#keys + 1] = key end
  end
  if not open_only then
    gather(redis.call('HKEYS', J .. ':processed'))
    gather(redis.call('HKEYS', J .. ':failed'))
    gather(redis.call('ZRANGE', J .. ':unsuccessful', 0, -1))
  end
  gather(redis.call('SMEMBERS', J .. ':dependencies'))
  return keys
end

-- Whether a worker runs the job, or one of the open ones below it. `seen`: flows may be tied into a ring.
local function is_held(J, below, seen)
  if redis.call('EXISTS', J .. ':lock') == 1 then return true end
  if not below or seen[J] then return false end
  seen[J] = true
  for _, child in ipairs(children_of(J, true)) do
    if is_held(child, true, seen) then return true end
  end
  return false
end

-- Removes one job; true if there was one. `how`: below (what is below it too), open_only (leave alone what runs or has
-- ended), seen. `parent_key` is nil for the first one, whose hash names it.
local function remove_one(P, id, parent_key, how, now)
  local J = P .. id
  if how.seen[J] then return false end
  how.seen[J] = true
  if how.open_only and (redis.call('EXISTS', J .. ':lock') == 1 or redis.call('ZSCORE', P .. 'failed', id)) then
    return false
  end
  local known = redis.pcall('HMGET', J, 'parentKey', 'deid')
  if known.err then known = {} end
  parent_key = parent_key or known[1]
  if parent_key then strike_child(parent_key, J, now) end
  if how.below then
    for _, child in ipairs(children_of(J, how.open_only)) do
      local child_P, child_id = key_parts(child)
      remove_one(child_P, child_id, J, how, now)
    end
  end
  local prev = leave_state(P, id)
  if known[2] then free_owned_id(P, id, known[2]) end
  local existed = redis.call('EXISTS', J) == 1
  delete_job(J)
  if existed then
    local settings = settings_of(P, '')
    emit_trimmed(P, settings, 'removed', 'jobId', id, 'prev', prev)
  end
  return existed or prev ~= 'unknown'
end

-- Removes a job, with `below` also its children, whatever became of them, and theirs.
-- Gives 1; 0 (it, or with `below` an open one below it, runs); -1 (there is none); -8 (a scheduler's next iteration).
local function remove_job(P, id, below, now)
  if is_pending_iteration(P, id) then return -8 end
  if is_held(P .. id, below, {}) then return 0 end
  return remove_one(P, id, nil, {below = below, seen = {}}, now) and 1 or -1
end

-- Removes the children that are open and not running, and the same below them; the job itself stays.
local function remove_below(J, now)
  local how = {below = true, open_only = true, seen = {[J] = true}}
  for _, child in ipairs(children_of(J, true)) do
    local child_P, child_id = key_parts(child)
    remove_one(child_P, child_id, J, how, now)
  end
end
