-- include: leave_active
-- include: waiting
-- Back to the front of its queue, untouched: no attempt is counted.
local function hand_back(P, settings, id, token)
  local J = P .. id
  local hash = redis.pcall('TYPE', J)
  if hash.ok ~= 'hash' then return -1 end
  local code = leave_active(P, id, token)
  if code ~= 0 then return code end
  put_front(P, settings, id, priority_of(J))
  emit_trimmed(P, settings, 'waiting', 'jobId', id, 'prev', 'active')
  return 0
end
