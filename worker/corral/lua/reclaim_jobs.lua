-- reclaim: find the jobs that a take locked whose answer never arrived. Reads only.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  token of that take
-- Returns jobs {id, {field, value, ...}}
-- Events: none

local P = KEYS[1]
local jobs = {}
for _, id in ipairs(redis.call('LRANGE', P .. 'active', 0, -1)) do
  if redis.call('GET', P .. id .. ':lock') == ARGV[1] then
    jobs[#jobs + 1] = {id, redis.call('HGETALL', P .. id)}
  end
end
return jobs
