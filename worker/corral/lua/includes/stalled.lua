-- include: waiting
-- A job whose worker died goes back to the front of its queue. One that has stalled too often fails at its next take.

-- An iteration of a living job scheduler is never given up: its schedule would end with it.
local function is_scheduled(P, J)
  local scheduler = redis.call('HGET', J, 'rjk')
  -- Schedulers that cannot be read count as living.
  return scheduler and redis.pcall('ZSCORE', P .. 'repeat', scheduler) ~= false
end

-- Gives whether there was such a job; an id without one only leaves `active`.
local function put_back_stalled(P, settings, id, most)
  local J = P .. id
  if redis.call('LREM', P .. 'active', 1, id) == 0 or redis.call('TYPE', J).ok ~= 'hash' then return false end
  local stalls = (tonumber(redis.call('HGET', J, 'stc') or nil) or 0) + 1
  redis.call('HSET', J, 'stc', stalls)
  if stalls > most and not is_scheduled(P, J) then
    redis.call('HSET', J, 'defa', 'job stalled more than allowable limit')
  end
  put_front(P, settings, id, 0)
  emit(P, 'waiting', 'jobId', id, 'prev', 'active')
  emit(P, 'stalled', 'jobId', id)
  return true
end
