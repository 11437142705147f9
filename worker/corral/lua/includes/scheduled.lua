-- The pending iteration of a job scheduler: the job whose ms the scheduler's score names. The schedule hangs on it.
local function is_pending_iteration(P, id)
  -- A foreign value under the job's key must not stop who asks.
  local scheduler = redis.pcall('HGET', P .. id, 'rjk')
  if type(scheduler) ~= 'string' then return false end
  local due = redis.call('ZSCORE', P .. 'repeat', scheduler)
  return due and string.match(id, ':(%d+)$') == due or false
end
