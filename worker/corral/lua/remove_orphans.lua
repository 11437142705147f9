-- sweep: delete jobs that are in no list or set, and take ids without a job out of theirs.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  now, epoch ms
--      then the ids
-- Returns how many are gone. What has found its place meanwhile stays, and so does a job scheduler's next iteration
-- Events: removed; waiting or delayed
--
-- include: own_keys
-- include: remove
-- include: orphan

local P, now = KEYS[1], tonumber(ARGV[1])
check_own_keys(P, 'events')

local function drop(id)
  local place = place_of(P, id)
  if not place then return 0 end
  leave_state(P, id)
  return 1
end

local gone = 0
for at = 2, #ARGV do
  local id = ARGV[at]
  if redis.call('EXISTS', P .. id) == 0 then
    gone = gone + drop(id)
  elseif is_orphan(P, id) and not is_pending_iteration(P, id) then
    remove_one(P, id, nil, {seen = {}}, now)
    redis.call('DEL', P .. id .. ':lock')
    gone = gone + 1
  end
end
return gone
