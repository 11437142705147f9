-- include: parent
-- include: delete_job
-- include: owned_id
-- Removing many jobs, whatever becomes of each: no `removed` event tells of them.

-- A child is gone. Gives the id of its parent if that waited for nothing else and is of the same queue: it goes too.
-- One of another queue is released.
local function leave_parent(P, parent_key, J, now)
  local PP, id = key_parts(parent_key)
  if PP ~= P then
    strike_child(parent_key, J, now)
    return nil
  end
  local open = parent_key .. ':dependencies'
  if redis.call('SREM', open, J) == 0 or redis.call('EXISTS', open) == 1 then return nil end
  return redis.call('ZREM', P .. 'waiting-children', id) == 1 and id or nil
end

-- Removes a job that is out of its list or set already, and the parents of its own queue that it empties. Damaged keys
-- of others must not stop the many that are to go.
local function discard(P, id, now)
  while id do
    local J = P .. id
    local known = redis.pcall('HMGET', J, 'parentKey', 'deid')
    if known.err then known = {} end
    delete_job(J)
    if known[2] then pcall(free_owned_id, P, id, known[2]) end
    local readable, emptied = true, nil
    if known[1] then readable, emptied = pcall(leave_parent, P, known[1], J, now) end
    id = readable and emptied
  end
end
