-- join: jobs in `wait` of a paused queue go to BullMQ 5's list `paused`, which alone a resume by BullMQ 5 brings back.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  how many at most
-- Returns how many were moved; none of a queue that is not paused (any more)
-- Events: none
--
-- include: own_keys

local P, moved = KEYS[1], 0
check_own_keys(P, 'wait', 'paused')
if redis.call('HEXISTS', P .. 'meta', 'paused') == 0 then return 0 end
while moved < tonumber(ARGV[1]) and redis.call('LMOVE', P .. 'wait', P .. 'paused', 'RIGHT', 'LEFT') do
  moved = moved + 1
end
return moved
