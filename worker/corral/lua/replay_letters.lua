-- replay: move dead letters back to the queues that they came from, as new jobs with their old ids.
--
-- KEYS 1  P, the base of the dead-letter queue's keys
-- ARGV 1  now, epoch ms
--      2  prefix of all queues
--      3  version of this library, written to `meta` of a queue that has none
--      4  dialect: 'v5', 'v6' or '' (ask the keys)
--      then the ids of the letters
-- Returns for each {name of its queue, its old id}, or why nothing was changed: -1 no job hash, -3 it runs or waits for
--         children, -21 a job with its old id exists, -22 it is no dead letter
-- Events: removed, added, waiting, delayed
--
-- include: own_keys
-- include: settings
-- include: letter
-- include: reopen
-- include: delete_job

local D, now, prefix, version = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
check_own_keys(D, 'wait', 'prioritized', 'delayed', 'events')

-- Takes a letter out of its state and gives that, as `removed` tells it.
local function leave_queue(id)
  for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized'}) do
    if redis.call('ZREM', D .. set, id) == 1 then return set end
  end
  for _, list in ipairs({'wait', 'paused'}) do
    if redis.call('LREM', D .. list, -1, id) == 1 then return list end
  end
  return 'unknown'
end

local function options_of(text)
  local readable, options = pcall(cjson.decode, text)
  return readable and type(options) == 'table' and options or {}
end

local function text_or(value, other)
  return type(value) == 'string' and value or other
end

local function replay(id)
  if redis.call('TYPE', D .. id).ok ~= 'hash' then return -1 end
  local name, data, opts = unpack(redis.call('HMGET', D .. id, 'name', 'data', 'opts'), 1, 3)
  local origin = origin_of(opts)
  if not origin then return -22 end
  -- A letter that was moved on goes back to where its job was first.
  origin = origin.home or origin
  if redis.call('LPOS', D .. 'active', id) or redis.call('ZSCORE', D .. 'waiting-children', id) then return -3 end
  local P = prefix .. ':' .. origin.queue .. ':'
  if redis.call('EXISTS', P .. origin.id) == 1 then return -21 end
  check_own_keys(P, 'wait', 'prioritized', 'marker', 'events')
  open_queue(P, version)
  count_up(P, origin.id)
  local old = text_or(origin.opts, '{}')
  local job = {name = name or '', data = data or '{}', opts = old, timestamp = tonumber(origin.timestamp) or now,
    priority = tonumber(origin.priority) or 0, lifo = options_of(old).lifo == true}
  local ties = {}
  if text_or(origin.parentKey) and text_or(origin.parent) then
    ties = {'parentKey', origin.parentKey, 'parent', origin.parent}
  end
  put_job(P, settings_of(P, ARGV[4]), origin.id, job, ties)
  carry_parts(D .. id, P .. origin.id)
  reopen_child(P .. origin.id, 'failed')
  local prev = leave_queue(id)
  delete_job(D .. id)
  emit(D, 'removed', 'jobId', id, 'prev', prev)
  return {origin.queue, origin.id}
end

local answers = {}
for at = 5, #ARGV do answers[#answers + 1] = replay(ARGV[at]) end
return answers
