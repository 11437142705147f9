-- include: enqueue
-- include: events
-- The iterations of a job scheduler: when they are due, and how one becomes a job.

-- The first place of the grid later than `now`.
local function next_on_grid(now, every, offset)
  local due = math.floor(now / every) * every + offset
  return due > now and due or due + every
end

-- When the iteration of `every` after `previous` (nil = it is the first one) is due: ms. And the offset of its grid.
local function due_by_every(every, offset, start, previous, now)
  local due
  if previous then
    due = previous + every
    -- What was missed is not made up for.
    if due < now then due = next_on_grid(now, every, offset) end
  elseif start then
    due = math.max(start, now)
  elseif offset > 0 then
    due = next_on_grid(now, every, offset)
  else
    due = now
  end
  return due, offset > 0 and offset or due % every
end

-- The first ms that is not `in_use`, of so many tries, one `every` apart (nil: only `due` itself); nil = there is none.
local function first_free(due, every, tries, in_use)
  for _ = 1, tries do
    if not in_use(due) then return due end
    if not every then return nil end
    due = due + every
  end
end

local function ms_text(ms)
  return string.format('%.0f', ms)
end

-- Adds an iteration. `how`: name, data, opts (JSON with at least one option, neither jobId nor delay), priority, lifo,
-- deduplication ('' = none), and tells_ms: its options say when it was due, as those of BullMQ 5's repeatable jobs do.
local function add_iteration(P, settings, scheduler, id, due, how, now)
  local J, delay = P .. id, math.max(0, due - now)
  -- Written into the text: decoded and encoded anew, numbers would lose digits.
  local opts = '{"jobId":' .. cjson.encode(id) .. ',"delay":' .. ms_text(delay) .. ','
  if how.tells_ms then opts = opts .. '"prevMillis":' .. ms_text(due) .. ',' end
  opts = opts .. string.sub(how.opts, 2)
  redis.call('INCR', P .. 'id')
  redis.call('HSET', J, 'name', how.name, 'data', how.data, 'opts', opts, 'timestamp', ms_text(now), 'delay',
    ms_text(delay), 'priority', how.priority, 'rjk', scheduler)
  if how.deduplication ~= '' then redis.call('HSET', J, 'deid', how.deduplication) end
  emit(P, 'added', 'jobId', id, 'name', how.name)
  enqueue(P, settings, id, now, delay, tonumber(how.priority), how.lifo == '1')
end
