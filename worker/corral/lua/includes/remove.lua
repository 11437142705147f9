-- include: settings
-- include: parent
-- include: delete_job
-- include: scheduled
-- include: owned_id
-- include: own_keys
-- Removing a job from whatever state it is in, alone or with all that is below it.
-- Who uses it: remove_job (one job, on somebody's wish: `remove_job`) and remove_unprocessed_children (`remove_below`).
-- Events: removed; waiting or delayed of a parent whose last open child this was.

local LISTS = {'wait', 'paused', 'active'}

-- Further jobs are not searched for in the lists one by one: each search reads the list up to the job.
local FEW = 50

-- Who is in a list of a queue: {id = its list}. Read once for many removals, which leave their ids until `sweep`.
local function members_of(P, sweeping)
  if sweeping[P] then return sweeping[P].members end
  local members = {}
  for place = #LISTS, 1, -1 do
    for _, id in ipairs(redis.call('LRANGE', P .. LISTS[place], 0, -1)) do members[id] = LISTS[place] end
  end
  sweeping[P] = {members = members, gone = {}}
  return members
end

-- Takes the ids of removed jobs out of their lists.
local function sweep(sweeping)
  for P, queue in pairs(sweeping) do
    for list, gone in pairs(queue.gone) do
      for place, id in ipairs(redis.call('LRANGE', P .. list, 0, -1)) do
        if gone[id] then redis.call('LSET', P .. list, place - 1, '') end
      end
      redis.call('LREM', P .. list, 0, '')
    end
  end
end

-- The list that a job was in, nil for none. `sweeping`: as for `members_of`, nil = its id is taken out at once.
local function leave_list(P, id, sweeping)
  local known = sweeping and members_of(P, sweeping)[id]
  if known then
    local gone = sweeping[P].gone
    gone[known] = gone[known] or {}
    gone[known][id] = true
    return known
  end
  -- With `sweeping`, a parent that lost its last child just now, and waits in front.
  for _, list in ipairs(LISTS) do
    if redis.call('LREM', P .. list, sweeping and -1 or 1, id) == 1 then return list end
  end
end

-- Takes a job out of its state, and gives that state as `removed` tells it.
local function leave_state(P, id, sweeping)
  for _, set in ipairs({'completed', 'waiting-children', 'delayed', 'failed', 'prioritized'}) do
    if redis.call('ZREM', P .. set, id) == 1 then return set end
  end
  local list = leave_list(P, id, sweeping)
  if list == 'active' then redis.call('SREM', P .. 'stalled', id) end
  return list or 'unknown'
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

-- Once for each queue, before its first removal: no job is left half removed.
local function check_queue(P, how)
  how.checked = how.checked or {}
  if how.checked[P] then return end
  check_own_keys(P, 'wait', 'paused', 'active', 'prioritized', 'delayed', 'waiting-children', 'completed', 'failed',
    'stalled', 'events')
  how.checked[P] = true
end

-- Removes one job; true if there was one. `how`: below (what is below it too), open_only (leave alone what runs or has
-- ended), seen. `remove_one` notes there: checked, count, sweeping (see `leave_list`). `parent_key` is nil for the first one, whose hash names it.
local function remove_one(P, id, parent_key, how, now)
  local J = P .. id
  if how.seen[J] then return false end
  how.seen[J] = true
  check_queue(P, how)
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
  how.count = (how.count or 0) + 1
  if how.count > FEW then how.sweeping = how.sweeping or {} end
  local prev = leave_state(P, id, how.sweeping)
  if known[2] then free_owned_id(P, id, known[2]) end
  local existed = redis.call('EXISTS', J) == 1
  delete_job(J)
  if existed then
    local settings = settings_of(P)
    emit_trimmed(P, settings, 'removed', 'jobId', id, 'prev', prev)
  end
  return existed or prev ~= 'unknown'
end

-- Takes the ids out of the lists, also when a removal breaks off.
local function swept(how, act)
  local done, answer = pcall(act)
  sweep(how.sweeping or {})
  -- A text would lose the word that Redis' errors begin with.
  if not done then error(type(answer) == 'table' and answer or {err = answer}) end
  return answer
end

-- Removes a job, with `below` also its children, whatever became of them, and theirs.
-- Gives 1; 0 (it, or with `below` an open one below it, runs); -1 (there is none); -8 (a scheduler's next iteration).
local function remove_job(P, id, below, now)
  if is_pending_iteration(P, id) then return -8 end
  if is_held(P .. id, below, {}) then return 0 end
  local how = {below = below, seen = {}}
  return swept(how, function() return remove_one(P, id, nil, how, now) end) and 1 or -1
end

-- Removes the children that are open and not running, and the same below them; the job itself stays.
local function remove_below(J, now)
  local how = {below = true, open_only = true, seen = {[J] = true}}
  swept(how, function()
    for _, child in ipairs(children_of(J, true)) do
      local child_P, child_id = key_parts(child)
      remove_one(child_P, child_id, J, how, now)
    end
  end)
end
