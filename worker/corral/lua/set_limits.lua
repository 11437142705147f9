-- limits: set or lift limits of the whole queue, and wake a worker for what they held up.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  a field of `meta`
--      2  its value, '' = none any more
--         and so on, two for each; none at all = only wake
-- Returns 0
-- Events: none
--
-- include: settings
-- include: waiting

local P = KEYS[1]
for at = 1, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', P .. 'meta', ARGV[at])
  else
    redis.call('HSET', P .. 'meta', ARGV[at], ARGV[at + 1])
  end
end
if redis.call('EXISTS', P .. 'wait', P .. 'prioritized') > 0 then mark_runnable(P, settings_of(P, '')) end
return 0
