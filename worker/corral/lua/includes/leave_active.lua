-- include: chunks
-- include: troubles
-- A job leaves `active` only in the hands of whoever holds its lock. Locks are read and dropped for the whole call at
-- once: `read_locks` first, `drop_locks` after the last step and before any take.
local holders, released = {}, {}

local function read_locks(P, ids)
  local locks = {}
  for place, id in ipairs(ids) do locks[place] = P .. id .. ':lock' end
  local place = 0
  in_chunks(locks, function(...)
    for _, holder in ipairs(redis.call('MGET', ...)) do
      place = place + 1
      holders[ids[place]] = holder
    end
  end)
end

-- Gives 0, or -2 (no lock), -6 (locked by another), -3 (not in `active`).
local function leave_active(P, id, token)
  local holder = holders[id]
  if holder ~= token then
    return holder and -6 or -2
  end
  holders[id] = false
  released[#released + 1] = id
  return redis.call('LREM', P .. 'active', -1, id) == 0 and -3 or 0
end

local function drop_locks(P)
  local locks = {}
  for place, id in ipairs(released) do locks[place] = P .. id .. ':lock' end
  in_chunks(locks, function(...) redis.call('DEL', ...) end)
  in_chunks(released, function(...) attempt('stalled', redis.call, 'SREM', P .. 'stalled', ...) end)
end
