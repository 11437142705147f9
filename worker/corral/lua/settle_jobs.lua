-- settle: write how several active jobs ended, then take the next ones, in one step.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  want: how many jobs to take; 0 = none
--      4  token for the locks of the taken jobs
--      5  lock_ms
--      6  worker's name, '' = none
--      7  the worker's own rate limit: jobs, '' = none
--      8  and within how many ms
--      9  minutes kept of the queue's metrics, 0 = none
--      then seven for each step:
--         kind    complete | fail | retry | delay | hand_back
--         id, token
--         text    complete: the value's JSON; fail, retry, delay: the reason
--         stack   JSON list of stack traces (fail, retry, delay)
--         number  fail: 1 = attempts exhausted; retry: 1 = lifo; delay: ms
--         keep    complete, fail: `count:age:limit`, '' = all
-- Returns {codes, jobs, unreadable, limited_ms, next_due, troubles}
--      codes       one a step: 0 done; nothing was changed on
--                  -1 no job hash, -2 no lock, -3 not active, -4 open children, -6 locked by another,
--                  -9 failed children;
--                  -99 the step broke off: the job is active without a lock, and will be recovered
--      jobs        {id, {field, value, ...}} as they were before the take
--      unreadable  ids that had no job hash; they are in no list any more
--      limited_ms  > 0: the rate limit allows no job for so long
--      next_due    epoch ms of the next delayed job, 0 = none or not asked
--      troubles    sentences: what broke a step, or went wrong with the parent of a job that has ended
-- Events: completed failed retries-exhausted added duplicated waiting delayed active drained
--
-- include: settings
-- include: finish
-- include: again
-- include: hand_back
-- include: take
-- include: count_minute
-- include: wake

local P = KEYS[1]
local now, want = tonumber(ARGV[1]), tonumber(ARGV[3])
local settings = settings_of(P, ARGV[2])

local steps = {
  complete = function(id, token, text, stack, number, keep)
    return complete(P, settings, id, token, text, keep, now)
  end,
  fail = function(id, token, text, stack, number, keep)
    return fail(P, settings, id, token, text, stack, number == '1', keep, now)
  end,
  retry = function(id, token, text, stack, number)
    return retry(P, settings, id, token, text, stack, number == '1', now)
  end,
  delay = function(id, token, text, stack, number)
    return delay(P, settings, id, token, text, stack, tonumber(number), now)
  end,
  hand_back = function(id, token)
    return hand_back(P, settings, id, token)
  end,
}

-- One job must not harm the others, nor be in no list at all.
local function put_back(id)
  for _, set in ipairs({'completed', 'failed'}) do
    if type(redis.pcall('ZSCORE', P .. set, id)) == 'string' then return end
  end
  redis.call('LREM', P .. 'active', 1, id)
  redis.call('LPUSH', P .. 'active', id)
end

local ids = {}
for at = 11, #ARGV, 7 do ids[#ids + 1] = ARGV[at] end
read_locks(P, ids)

-- Before the steps, so that listeners still hear what these say.
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
local codes, ends = {}, {complete = 0, fail = 0}
for at = 10, #ARGV, 7 do
  local kind = ARGV[at]
  local id = ARGV[at + 1]
  local done, code = pcall(steps[kind], id, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
  if not done then
    troubles[#troubles + 1] = kind .. ' of job ' .. id .. ': ' .. error_text(code)
    put_back(id)
    code = -99
  end
  codes[#codes + 1] = code
  if code == 0 and ends[kind] then ends[kind] = ends[kind] + 1 end
end
drop_locks(P)
local points = tonumber(ARGV[9])
if points > 0 then
  attempt('metrics', count_minute, P .. 'metrics:completed', ends.complete, points, now)
  attempt('metrics', count_minute, P .. 'metrics:failed', ends.fail, points, now)
end
local finished = ends.complete + ends.fail > 0

local jobs, unreadable, limited_ms, due = {}, {}, 0, 0
if want > 0 then
  local done
  done, jobs, unreadable, limited_ms, due = pcall(take, P, limited_to(settings, ARGV[7], ARGV[8]), now, want, ARGV[4], ARGV[5], ARGV[6])
  if not done then
    -- The steps are done, and whoever asked must hear of them.
    troubles[#troubles + 1] = 'take: ' .. error_text(jobs)
    jobs, unreadable, limited_ms, due = {}, {}, 0, 0
  end
end
if #jobs == 0 and #released > 0 then attempt('marker', wake, P, settings) end
-- Nothing came and nothing is to come: whoever finished the last job says so.
if finished and #jobs == 0 and limited_ms == 0 and due == 0 and not (want > 0 and settings.paused)
  and redis.call('EXISTS', P .. 'wait', P .. 'active', P .. 'prioritized') == 0 then
  emit(P, 'drained')
end
return {codes, jobs, unreadable, limited_ms, due, troubles}
