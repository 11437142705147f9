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

local ids, gone = {unpack(ARGV, 2)}, 0
local places = places_of(P, ids)
for _, id in ipairs(ids) do
  if redis.call('EXISTS', P .. id) == 0 then
    if places[id] then
      leave_state(P, id)
      places[id] = nil
      gone = gone + 1
    end
  elseif not places[id] and is_lost_job(P, id) and not is_pending_iteration(P, id) then
    remove_one(P, id, nil, {seen = {}}, now)
    gone = gone + 1
  end
end
return gone
