-- drain: remove jobs from one list or set, all but the pending iterations of job schedulers.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  'wait', 'paused', 'prioritized' or 'delayed'
--      2  now, epoch ms
--      3  how many at most
--      4  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns how many it were
-- Events: waiting or delayed
--
-- include: settings
-- include: chunks
-- include: scheduled
-- include: discard

local P, name, now, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
tell_dialect(P, ARGV[4])
local key, is_list = P .. name, name == 'wait' or name == 'paused'
-- So many may have to stay that no more than these are needed to find `most` others.
local looked = most + redis.call('ZCARD', P .. 'repeat')
local ids = is_list and redis.call('LRANGE', key, -looked, -1) or redis.call('ZRANGE', key, 0, looked - 1)

local gone = {}
for place = 1, #ids do
  local id = ids[is_list and #ids + 1 - place or place] -- the oldest of a list is its last
  if #gone < most and not is_pending_iteration(P, id) then gone[#gone + 1] = id end
end
if is_list then
  for _, id in ipairs(gone) do redis.call('LREM', key, -1, id) end
else
  in_chunks(gone, function(...) redis.call('ZREM', key, ...) end)
end
for _, id in ipairs(gone) do discard(P, id, now) end
return #gone
