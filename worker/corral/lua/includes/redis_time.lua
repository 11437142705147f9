-- Redis' own clock, epoch ms: the one that all workers of a fleet share.
local function redis_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether a look arrives long after it was asked for: a server, or a process, that hung in between has let beats and
-- locks run out, and nobody has had a chance to renew them. `asked` '' = it does not say.
local function is_late(asked)
  return asked ~= '' and redis_ms() - tonumber(asked) > 5000
end
