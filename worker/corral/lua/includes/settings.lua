-- Whether the queue has the layout of BullMQ 5. `dialect` 'v5' or 'v6' decides; '' asks the keys.
local function is_v5(P, version, dialect)
  if dialect ~= '' then return dialect == 'v5' end
  return string.sub(version or '', 1, 9) == 'bullmq:5.' or redis.call('EXISTS', P .. 'paused') == 1
end

-- A whole number from a field, or nil.
local function whole(field)
  local number = tonumber(field or nil)
  return number and math.floor(number)
end

-- The dialects that this call was told, by P; and whether one was 'v5': where Node 5 works, every queue has its layout.
local dialects, knows_v5 = {}, false

local function tell_dialect(P, dialect)
  dialects[P] = dialect
  knows_v5 = knows_v5 or dialect == 'v5'
end

-- What the queue's `meta` says. One read per call. Without a `dialect` it is what the call was told before.
--   paused, concurrency, max, duration   as stored; nil when absent
--   events                               length target of the stream
--   version                              of the library that last announced itself
--   collects                             the list that newly waiting jobs go to
-- BullMQ 5 keeps the waiting jobs of a paused queue in `paused` and renames it over `wait` at resume, so on its
-- queues we must add there too.
local function settings_of(P, dialect)
  if dialect then tell_dialect(P, dialect) end
  dialect = dialects[P] or (knows_v5 and 'v5') or ''
  local meta = redis.call('HMGET', P .. 'meta', 'paused', 'concurrency', 'max', 'duration', 'opts.maxLenEvents', 'version')
  local settings = {
    paused = meta[1] ~= false,
    concurrency = whole(meta[2]),
    max = whole(meta[3]),
    duration = whole(meta[4]),
    events = whole(meta[5]) or 10000,
    version = meta[6],
    collects = P .. 'wait',
  }
  if settings.paused and is_v5(P, settings.version, dialect)
    and (dialect == 'v5' or redis.call('EXISTS', P .. 'wait') == 0 or redis.call('EXISTS', P .. 'paused') == 1) then
    settings.collects = P .. 'paused'
  end
  return settings
end
