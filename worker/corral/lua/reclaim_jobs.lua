-- reclaim: find the jobs that a take locked whose answer never arrived, and hold their locks anew.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  token of that take
--      2  lock_ms
-- Returns jobs {id, {field, value, ...}} as they were before that take
-- Events: none

local P = KEYS[1]

local function before_take(hash)
  for place = 1, #hash, 2 do
    if hash[place] == 'ats' then
      hash[place + 1] = string.format('%.0f', (tonumber(hash[place + 1]) or 1) - 1)
    end
  end
  return hash
end

local jobs = {}
for _, id in ipairs(redis.call('LRANGE', P .. 'active', 0, -1)) do
  local lock = P .. id .. ':lock'
  if redis.call('GET', lock) == ARGV[1] then
    redis.call('PEXPIRE', lock, ARGV[2])
    jobs[#jobs + 1] = {id, before_take(redis.call('HGETALL', P .. id))}
  end
end
return jobs
