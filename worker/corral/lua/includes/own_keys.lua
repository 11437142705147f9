-- A script is not undone when it breaks off, so it must not meet a key of another program half-way.
-- Called before anything is written.
local OWN_KEYS = {
  wait = 'list', active = 'list', prioritized = 'zset', delayed = 'zset', completed = 'zset', failed = 'zset',
  stalled = 'set', marker = 'zset', events = 'stream',
}

local function check_own_keys(P)
  for name, kind in pairs(OWN_KEYS) do
    local found = redis.call('TYPE', P .. name).ok
    if found ~= kind and found ~= 'none' then
      error({err = 'WRONGTYPE key ' .. P .. name .. ' is a ' .. found .. ', not a ' .. kind})
    end
  end
end
