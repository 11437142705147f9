-- What the queue's `meta` says. One read per call.
--   paused, concurrency, max, duration   as stored; nil when absent
--   events                               length target of the stream
--   collects                             the list that newly waiting jobs go to
-- BullMQ 5 keeps waiting jobs of a paused queue in `paused` and renames it over `wait` at resume, so on its
-- queues we must add there too. `dialect` 'v5' or 'v6' decides; '' asks the keys.
local function settings_of(P, dialect)
  local meta = redis.call('HMGET', P .. 'meta', 'paused', 'concurrency', 'max', 'duration', 'opts.maxLenEvents', 'version')
  local settings = {
    paused = meta[1] ~= false,
    concurrency = tonumber(meta[2] or nil),
    max = tonumber(meta[3] or nil),
    duration = tonumber(meta[4] or nil),
    events = tonumber(meta[5] or nil) or 10000,
    collects = P .. 'wait',
  }
  settings.v5 = dialect == 'v5' or (dialect == '' and (string.sub(meta[6] or '', 1, 8) == 'bullmq:5' or redis.call('EXISTS', P .. 'paused') == 1))
  if settings.paused and settings.v5 then
    settings.collects = P .. 'paused'
  end
  return settings
end
