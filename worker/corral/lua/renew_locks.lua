-- renew: hold the locks of running jobs for longer. One that is missing is set anew while nobody has taken its job.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  lock_ms
--      then three for each job: id, token, and how often it has been started, that run included
-- Returns {lost, anew}, places (from 1) of jobs
--      lost  whose lock is another's, or gone and the job with it: not active any more, or started once more;
--            nothing was changed for those
--      anew  whose lock was missing, in an outage that it did not outlast, and is held again
-- Events: none

local P = KEYS[1]
local lost, missing, anew = {}, {}, {}
for at = 2, #ARGV, 3 do
  local id, lock = ARGV[at], P .. ARGV[at] .. ':lock'
  local place, holder = (at + 1) / 3, redis.pcall('GET', lock)
  if holder == ARGV[at + 1] then
    redis.call('PEXPIRE', lock, ARGV[1]) -- not SET, which a full Redis refuses
    redis.pcall('SREM', P .. 'stalled', id)
  elseif holder then
    lost[#lost + 1] = place
  else
    missing[#missing + 1] = place
  end
end
if #missing == 0 then return {lost, anew} end

local is_active = {}
for _, id in ipairs(redis.call('LRANGE', P .. 'active', 0, -1)) do is_active[id] = true end

for _, place in ipairs(missing) do
  local at = place * 3 - 1
  local id = ARGV[at]
  local starts = redis.pcall('HGET', P .. id, 'ats')
  if is_active[id] and type(starts) == 'string' and tonumber(starts) == tonumber(ARGV[at + 2]) then
    redis.pcall('SREM', P .. 'stalled', id) -- first: after it, a full Redis lets the SET pass
    redis.call('SET', P .. id .. ':lock', ARGV[at + 1], 'PX', ARGV[1])
    is_active[id] = false -- of two runs that believe so, one
    anew[#anew + 1] = place
  else
    lost[#lost + 1] = place
  end
end
return {lost, anew}
