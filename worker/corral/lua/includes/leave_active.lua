-- A job leaves `active` only in the hands of whoever holds its lock.
-- Gives 0, or -2 (no lock), -6 (locked by another), -3 (not in `active`).
local function leave_active(P, id, token)
  local lock = P .. id .. ':lock'
  local holder = redis.call('GET', lock)
  if holder ~= token then
    return holder and -6 or -2
  end
  redis.call('DEL', lock)
  redis.call('SREM', P .. 'stalled', id)
  return redis.call('LREM', P .. 'active', -1, id) == 0 and -3 or 0
end
