-- recover: put back jobs whose worker died, and mark the active ones for the next look.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  interval between two looks, ms; a look within it does nothing
--      4  how often a job may stall; once more and the next worker to take it fails it
--      5  Redis' time when it was asked for, epoch ms; a look that comes late does nothing. '' = not told
-- Returns the ids put back
-- Events: waiting, stalled
--
-- include: own_keys
-- include: settings
-- include: stalled
-- include: redis_time
-- include: chunks

local P = KEYS[1]
check_own_keys(P, 'wait', 'active', 'prioritized', 'stalled', 'marker', 'events')
if redis.call('EXISTS', P .. 'stalled-check') == 1 or is_late(ARGV[5]) then return {} end
local settings = settings_of(P, ARGV[2])
-- First, so that a full Redis lets the rest pass: the jobs of a dead worker must go on.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
redis.call('SET', P .. 'stalled-check', ARGV[1], 'PX', ARGV[3])

local recovered = {}
local suspects = redis.call('SMEMBERS', P .. 'stalled')
redis.call('DEL', P .. 'stalled')
for _, id in ipairs(suspects) do
  if redis.call('EXISTS', P .. id .. ':lock') == 0 and put_back_stalled(P, settings, id, tonumber(ARGV[4])) then
    recovered[#recovered + 1] = id
  end
end
local active = redis.call('LRANGE', P .. 'active', 0, -1)
in_chunks(active, function(...) redis.call('SADD', P .. 'stalled', ...) end)
return recovered
