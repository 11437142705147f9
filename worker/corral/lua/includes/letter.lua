-- include: enqueue
-- A job that changes its queue: written in the one, gone from the other, what hangs on it carried over.

-- Numbers of the counter's range are its own: it must never come to an id that is there.
local function count_up(P, id)
  local count = redis.call('INCR', P .. 'id')
  local number = string.match(id, '^%d+$') and tonumber(id)
  if number and number > count and number < 9007199254740992 then
    redis.call('SET', P .. 'id', string.format('%.0f', number))
  end
  return count
end

-- What every queue has that jobs were added to. First, so that a full Redis refuses before anything is written.
local function open_queue(P, version)
  redis.call('INCRBY', P .. 'id', 0)
  redis.call('HSETNX', P .. 'meta', 'opts.maxLenEvents', 10000)
  redis.call('HSETNX', P .. 'meta', 'version', version)
end

-- Writes the job under a free id and lets it wait. `ties`: parentKey and parent, or none.
local function put_job(P, settings, id, job, ties)
  redis.call('HSET', P .. id, 'name', job.name, 'data', job.data, 'opts', job.opts, 'timestamp', job.timestamp,
    'delay', 0, 'priority', job.priority, unpack(ties))
  emit(P, 'added', 'jobId', id, 'name', job.name)
  enqueue(P, settings, id, job.timestamp, 0, job.priority, job.lifo)
end

-- The children's ends and the log go with the job. Children that have failed it are left behind: they would fail it
-- again, whatever it does.
local function carry_parts(from, to)
  for _, part in ipairs({':processed', ':failed', ':logs'}) do
    if redis.call('EXISTS', from .. part) == 1 then redis.call('RENAME', from .. part, to .. part) end
  end
end

local function names_a_job(origin)
  if type(origin) ~= 'table' or type(origin.queue) ~= 'string' or type(origin.id) ~= 'string' then return false end
  return origin.id ~= '' and string.find(origin.queue, '^[^:]+$') ~= nil
end

-- Where a letter came from, as its options say: queue, id and all the rest; nil: the job is no letter. `home` is there
-- when it was a letter there already.
local function origin_of(opts)
  local readable, options = pcall(cjson.decode, opts or '')
  local origin = readable and type(options) == 'table' and options.deadLetter
  if not names_a_job(origin) then return nil end
  if not names_a_job(origin.home) then origin.home = nil end
  return origin
end
