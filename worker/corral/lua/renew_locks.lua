-- renew: hold the locks of running jobs for longer.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  lock_ms
--      then two for each job: id, token
-- Returns the places (from 1) of the jobs whose lock is gone or another's; nothing was changed for those
-- Events: none

local P = KEYS[1]
local lost = {}
for at = 2, #ARGV, 2 do
  local id, lock = ARGV[at], P .. ARGV[at] .. ':lock'
  if redis.call('GET', lock) == ARGV[at + 1] then
    redis.call('PEXPIRE', lock, ARGV[1]) -- not SET, which a full Redis refuses
    redis.call('SREM', P .. 'stalled', id)
  else
    lost[#lost + 1] = at / 2
  end
end
return lost
