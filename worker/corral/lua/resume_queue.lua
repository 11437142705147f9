-- resume: jobs are taken again. Whatever lies in BullMQ 5's `paused` list comes back in front of `wait`.
--
-- KEYS 1  P, the base of the queue's keys
-- Returns 1, or 0: was not paused
-- Events: resumed
--
-- include: events
-- include: delayed

local P = KEYS[1]
local was_paused = redis.call('HDEL', P .. 'meta', 'paused')
while redis.call('LMOVE', P .. 'paused', P .. 'wait', 'LEFT', 'RIGHT') do end
if redis.call('EXISTS', P .. 'wait', P .. 'prioritized') > 0 then
  redis.call('ZADD', P .. 'marker', 0, '0')
else
  mark_delayed(P)
end
emit(P, 'resumed')
return was_paused
