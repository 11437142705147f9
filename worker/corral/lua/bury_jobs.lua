-- bury: move failed jobs to a dead-letter queue, where each waits as an ordinary job that knows where it came from.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  P of the dead-letter queue
--      3  name of the queue that the jobs are of
--      4  version of this library, written to `meta` of the dead-letter queue where it has none
--      then the ids of the jobs
-- Returns for each the id of its letter, also of one that an earlier call has moved, or why nothing was changed:
--         -1 no job hash, -3 not failed, -4 open children, -8 a job scheduler's next iteration,
--         -20 its parent waits for it
-- Events: removed, added, waiting, delayed
--
-- include: own_keys
-- include: settings
-- include: scheduled
-- include: letter
-- include: delete_job

local P, now, D, queue = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
check_own_keys(P, 'events')
check_own_keys(D, 'wait', 'marker', 'events')
open_queue(D, ARGV[4])
local settings = settings_of(D, '')

local function why_not(id)
  local J = P .. id
  if redis.call('TYPE', J).ok ~= 'hash' then return -1 end
  if not redis.call('ZSCORE', P .. 'failed', id) then return -3 end
  if redis.call('EXISTS', J .. ':dependencies') == 1 then return -4 end
  if is_pending_iteration(P, id) then return -8 end
  local parent_key = redis.call('HGET', J, 'parentKey')
  if parent_key and redis.call('SISMEMBER', parent_key .. ':dependencies', J) == 1 then return -20 end
  return nil
end

-- The letter that an earlier call made of a job that is gone.
local function earlier(id)
  local origin = origin_of(redis.call('HGET', D .. queue .. '.' .. id, 'opts'))
  return origin and origin.queue == queue and origin.id == id and queue .. '.' .. id
end

-- Two jobs may have had one id, the one added when the other was a letter already.
local function free_id(id)
  local letter_id = queue .. '.' .. id
  local count = count_up(D, letter_id)
  if redis.call('EXISTS', D .. letter_id) == 0 then return letter_id end
  return string.format('%s.%.0f', letter_id, count)
end

local function number(text)
  local value = tonumber(text or nil)
  return value and math.abs(value) < 9007199254740992 and string.format('%.0f', value)
end

-- Options are kept as a text: read and written anew here, their numbers would lose digits.
local function letter_options(id, job)
  local readable, options = pcall(cjson.decode, job.opts)
  local correlation = readable and type(options) == 'table' and options.correlationId
  local rows = job.stacktrace and pcall(cjson.decode, job.stacktrace) and job.stacktrace
  local parts = {}
  local function say(name, json)
    if json then parts[#parts + 1] = '"' .. name .. '":' .. json end
  end
  say('queue', cjson.encode(queue))
  say('id', cjson.encode(id))
  say('reason', cjson.encode(job.failedReason or ''))
  say('attemptsMade', number(job.atm) or '0')
  say('attemptsStarted', number(job.ats) or '0')
  say('timestamp', number(job.timestamp))
  say('processedOn', number(job.processedOn))
  say('finishedOn', number(job.finishedOn))
  say('movedOn', number(now))
  say('priority', number(job.priority))
  say('stacktrace', rows)
  say('opts', cjson.encode(job.opts))
  say('parentKey', job.parent and job.parentKey and cjson.encode(job.parentKey))
  say('parent', job.parentKey and job.parent and cjson.encode(job.parent))
  local origin = '"attempts":0,"deadLetter":{' .. table.concat(parts, ',') .. '}'
  if type(correlation) == 'string' then origin = origin .. ',"correlationId":' .. cjson.encode(correlation) end
  return '{' .. origin .. '}'
end

local function fields_of(J)
  local job, flat = {}, redis.call('HGETALL', J)
  for place = 1, #flat, 2 do job[flat[place]] = flat[place + 1] end
  return job
end

local function bury(id)
  local J = P .. id
  local job = fields_of(J)
  job.opts = job.opts or '{}'
  local letter_id = free_id(id)
  local letter = {name = job.name or '', data = job.data or '{}', opts = letter_options(id, job), timestamp = now,
    priority = 0}
  put_job(D, settings, letter_id, letter, {})
  carry_parts(J, D .. letter_id)
  redis.call('ZREM', P .. 'failed', id)
  delete_job(J)
  emit(P, 'removed', 'jobId', id, 'prev', 'failed')
  return letter_id
end

local answers = {}
for at = 5, #ARGV do
  local id = ARGV[at]
  local code = why_not(id)
  answers[#answers + 1] = (code == -1 and earlier(id)) or code or bury(id)
end
return answers
