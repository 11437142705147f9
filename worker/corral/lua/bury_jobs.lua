-- bury: move failed jobs to a dead-letter queue, where each waits as an ordinary job that knows where it came from.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      2  P of the dead-letter queue
--      3  name of the queue that the jobs are of
--      4  version of this library, written to `meta` of the dead-letter queue where it has none
--      5  dialect: 'v5', 'v6' or '' (ask the keys)
--      then the ids of the jobs
-- Returns for each the id of its letter, also of one that an earlier call has moved (of several with one id, the first),
--         or why nothing was changed:
--         -1 no job hash, -3 not failed, -4 open children, -8 a job scheduler's next iteration, but for its last one,
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
local settings = settings_of(D, ARGV[5])

-- An iteration that none follows: the limit is reached, or the end. No schedule hangs on it.
local function is_last_iteration(id)
  local readable, options = pcall(cjson.decode, redis.call('HGET', P .. id, 'opts') or '')
  local rule = readable and type(options) == 'table' and options['repeat']
  if type(rule) ~= 'table' then return false end
  local count, limit, last = tonumber(rule.count) or 0, tonumber(rule.limit), tonumber(rule.endDate)
  return limit and count >= limit or last and now > last or false
end

local function why_not(id)
  local J = P .. id
  if redis.call('TYPE', J).ok ~= 'hash' then return -1 end
  if not redis.call('ZSCORE', P .. 'failed', id) then return -3 end
  if redis.call('EXISTS', J .. ':dependencies') == 1 then return -4 end
  if is_pending_iteration(P, id) and not is_last_iteration(id) then return -8 end
  local parent_key = redis.call('HGET', J, 'parentKey')
  if parent_key and redis.call('SISMEMBER', parent_key .. ':dependencies', J) == 1 then return -20 end
  return nil
end

-- The letter that an earlier call made of a job that is gone.
local function earlier(id)
  for _, letter_id in ipairs({queue .. '.' .. id, id}) do
    local origin = origin_of(redis.call('HGET', D .. letter_id, 'opts'))
    if origin and origin.queue == queue and origin.id == id then return letter_id end
  end
  return nil
end

-- Two jobs may have had one id, the one added when the other was a letter already. A letter that moves on keeps its id:
-- between two dead-letter queues it would grow for ever.
local function free_id(id, is_letter)
  local letter_id = is_letter and id or queue .. '.' .. id
  local count = count_up(D, letter_id)
  if redis.call('EXISTS', D .. letter_id) == 0 then return letter_id end
  return string.format('%s.%.0f', letter_id, count)
end

local function number(text)
  local value = tonumber(text or nil)
  return value and math.abs(value) < 9007199254740992 and string.format('%.0f', value)
end

-- What brings a job back: options are kept as a text; read and written anew here, their numbers would lose digits.
local function way_back(say, job)
  say('timestamp', number(job.timestamp))
  say('priority', number(job.priority))
  say('opts', type(job.opts) == 'string' and cjson.encode(job.opts))
  if type(job.parent) == 'string' and type(job.parentKey) == 'string' then
    say('parentKey', cjson.encode(job.parentKey))
    say('parent', cjson.encode(job.parent))
  end
end

local function object(fill)
  local parts = {}
  fill(function(name, json)
    if json then parts[#parts + 1] = '"' .. name .. '":' .. json end
  end)
  return '{' .. table.concat(parts, ',') .. '}'
end

-- Of a letter that moves on, `home` tells where its job came from first: each move within the other would double it.
local function first_home(origin)
  local first = origin.home or origin
  return object(function(say)
    say('queue', cjson.encode(first.queue))
    say('id', cjson.encode(first.id))
    way_back(say, first)
  end)
end

local function letter_options(id, job, origin)
  local readable, options = pcall(cjson.decode, job.opts)
  local correlation = readable and type(options) == 'table' and options.correlationId
  local rows = job.stacktrace and pcall(cjson.decode, job.stacktrace) and job.stacktrace
  return object(function(tell)
    tell('attempts', '0')
    tell('deadLetter', object(function(say)
      say('queue', cjson.encode(queue))
      say('id', cjson.encode(id))
      say('reason', cjson.encode(job.failedReason or ''))
      say('attemptsMade', number(job.atm) or '0')
      say('attemptsStarted', number(job.ats) or '0')
      say('processedOn', number(job.processedOn))
      say('finishedOn', number(job.finishedOn))
      say('movedOn', number(now))
      say('stacktrace', rows)
      if origin then
        say('timestamp', number(job.timestamp))
        say('home', first_home(origin))
      else
        way_back(say, job)
      end
    end))
    tell('correlationId', type(correlation) == 'string' and cjson.encode(correlation))
  end)
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
  local origin = origin_of(job.opts)
  local letter_id = free_id(id, origin ~= nil)
  local letter = {name = job.name or '', data = job.data or '{}', opts = letter_options(id, job, origin), timestamp = now,
    priority = 0}
  put_job(D, settings, letter_id, letter, {})
  carry_parts(J, D .. letter_id)
  redis.call('ZREM', P .. 'failed', id)
  delete_job(J)
  emit(P, 'removed', 'jobId', id, 'prev', 'failed')
  return letter_id
end

local answers = {}
for at = 6, #ARGV do
  local id = ARGV[at]
  local code = why_not(id)
  answers[#answers + 1] = (code == -1 and earlier(id)) or code or bury(id)
end
return answers
