-- A finished child that will run again is open once more, where its parent had noted its end. A parent that has gone on
-- meanwhile stays where it is.
local function reopen_child(J, state)
  local parent_key = redis.call('HGET', J, 'parentKey')
  if not parent_key or redis.call('EXISTS', parent_key) == 0 then return end
  local noted
  if state == 'completed' then
    noted = redis.call('HDEL', parent_key .. ':processed', J)
  else
    noted = redis.call('ZREM', parent_key .. ':unsuccessful', J) + redis.call('HDEL', parent_key .. ':failed', J)
  end
  if noted > 0 then redis.call('SADD', parent_key .. ':dependencies', J) end
end
