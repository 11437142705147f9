-- pause: no job of the queue is taken any more; running ones go on.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns 1, or 0: was paused already
-- Events: paused
--
-- include: settings
-- include: events

local P = KEYS[1]
local settings = settings_of(P, ARGV[1])
-- First a write that a full Redis does not refuse: who has to empty a queue pauses it before.
redis.call('DEL', P .. 'marker')
redis.call('HSET', P .. 'meta', 'paused', 1)
if is_v5(P, settings.version, ARGV[1]) then
  -- BullMQ 5 will rename `paused` over `wait` at resume: nothing may be left in `wait` then.
  while redis.call('LMOVE', P .. 'wait', P .. 'paused', 'RIGHT', 'LEFT') do end
end
emit(P, 'paused')
return settings.paused and 0 or 1
