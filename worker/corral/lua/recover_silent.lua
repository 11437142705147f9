-- silent: put back at once the jobs of Corral's workers that were present and have not been heard of for too long.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  id of the worker that looks; one that was not heard of lately itself sees nothing
--      2  dialect: 'v5', 'v6' or '' (ask the keys)
--      3  how often a job may stall; once more and the next worker to take it fails it
--      4  Redis' time when it was asked for, epoch ms; a look that comes late does nothing. '' = not told
-- Returns {ids put back, in how many ms the next look may be made}; somebody else's look, lately, leaves nothing to do
-- Events: waiting, stalled
--
-- include: own_keys
-- include: settings
-- include: stalled
-- include: redis_time
-- include: chunks

local P = KEYS[1]
local BEATS, WORKERS, LOOK = P .. 'corral:beats', P .. 'corral:workers', P .. 'corral:look'
local LOOK_MS, SILENT_MS, IDLE_S, AT_ONCE = 4000, 10000, 10, 1000

local left = redis.call('PTTL', LOOK)
-- One that lasts longer is of before Redis' clock was set back.
if left > 0 and left <= LOOK_MS then return {{}, left} end
if is_late(ARGV[4]) then return {{}, LOOK_MS} end

-- How long a worker may be silent: three of the spans between its beats. Without a record that can be read, those of an
-- idle one.
local function may_be_silent_ms(worker)
  local record = redis.pcall('HGET', WORKERS, worker)
  local readable, told = pcall(cjson.decode, type(record) == 'string' and record or '')
  local every = readable and type(told) == 'table' and tonumber(told.every) or IDLE_S
  return math.max(SILENT_MS, every * 3000)
end

local silent, some = {}, false
local now = redis_ms()
local beats = redis.call('ZRANGEBYSCORE', BEATS, '-inf', now - SILENT_MS, 'WITHSCORES')
for place = 1, #beats, 2 do
  local worker = beats[place]
  if now - tonumber(beats[place + 1]) > may_be_silent_ms(worker) then silent[worker], some = true, true end
end
if silent[ARGV[1]] or not redis.call('ZSCORE', BEATS, ARGV[1]) then return {{}, LOOK_MS} end
if some then check_own_keys(P, 'wait', 'paused', 'active', 'prioritized', 'stalled', 'marker', 'events') end
-- The first write is one that a full Redis does not refuse, and so it lets the rest pass: the jobs must go on.
redis.call('DEL', LOOK)
redis.call('SET', LOOK, ARGV[1], 'PX', LOOK_MS)
if not some then return {{}, LOOK_MS} end

-- Those of `active` whose lock names a silent worker.
local function orphaned()
  local active, locks, found, place = redis.call('LRANGE', P .. 'active', 0, -1), {}, {}, 0
  for at, id in ipairs(active) do locks[at] = P .. id .. ':lock' end
  in_chunks(locks, function(...)
    for _, token in ipairs(redis.call('MGET', ...)) do
      place = place + 1
      if silent[token and string.match(token, '^(.*):%d+$')] then found[#found + 1] = active[place] end
    end
  end)
  return found
end

local settings = settings_of(P, ARGV[2])
redis.call('XTRIM', P .. 'events', 'MAXLEN', '~', settings.events)
local recovered, found = {}, orphaned()
for at = 1, math.min(#found, AT_ONCE) do
  local id = found[at]
  redis.call('DEL', P .. id .. ':lock')
  redis.call('SREM', P .. 'stalled', id)
  if put_back_stalled(P, settings, id, tonumber(ARGV[3])) then recovered[#recovered + 1] = id end
end
if #found <= AT_ONCE then return {recovered, LOOK_MS} end
-- A script holds up everybody: the rest is for the next look, which may be made at once.
redis.call('DEL', LOOK)
return {recovered, 0}
