-- take: promote what is due, then move runnable jobs into `active`, locked.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  want: how many jobs at most
--      4  token for their locks
--      5  lock_ms
--      6  worker's name, '' = none
--      7  the worker's own rate limit: jobs, '' = none
--      8  and within how many ms
-- Returns {codes, jobs, unreadable, limited_ms, next_due, troubles} as settle_jobs does; codes and troubles are empty
-- Events: waiting, active
--
-- include: settings
-- include: take

local P = KEYS[1]
local settings = settings_of(P, ARGV[2])
-- A full Redis refuses a script whose first write may need memory. This one does not, and jobs must go on.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
local jobs, unreadable, limited_ms, due =
  take(P, limited_to(settings, ARGV[7], ARGV[8]), tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6])
return {{}, jobs, unreadable, limited_ms, due, {}}
