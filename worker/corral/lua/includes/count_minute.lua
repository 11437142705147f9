-- The queue's metrics: `key` counts the ends, `key:data` holds one number a minute, the newest first. A minute's number
-- is written by the first end of a later minute; minutes without an end are zeros.
local function count_minute(key, ends, points, now)
  if ends == 0 then return end
  local before = redis.call('HINCRBY', key, 'count', ends) - ends
  local known = redis.call('HMGET', key, 'prevTS', 'prevCount')
  local told = tonumber(known[1] or nil)
  if not told then
    redis.call('HSET', key, 'prevTS', now, 'prevCount', 0)
    return
  end
  local minutes = math.min(math.floor(now / 60000) - math.floor(told / 60000), points)
  if minutes <= 0 then return end
  local data = key .. ':data'
  redis.call('LPUSH', data, before - (tonumber(known[2] or nil) or 0))
  for _ = 2, minutes do redis.call('LPUSH', data, 0) end
  redis.call('LTRIM', data, 0, points - 1)
  redis.call('HSET', key, 'prevTS', now, 'prevCount', before)
end
