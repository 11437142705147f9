-- A script is not undone when it breaks off. One that is called now and then looks first whether the keys that it will
-- write are the queue's own; `settle` and `take`, called all the time, put back what they have in hand instead.
local KINDS = {
  wait = 'list', paused = 'list', active = 'list', prioritized = 'zset', delayed = 'zset', stalled = 'set', marker = 'zset',
  ['waiting-children'] = 'zset', completed = 'zset', failed = 'zset', events = 'stream',
  ['corral:beats'] = 'zset', ['corral:workers'] = 'hash', ['corral:orders'] = 'hash',
}

local function check_own_keys(P, ...)
  for _, name in ipairs({...}) do
    local found = redis.call('TYPE', P .. name).ok
    if found ~= KINDS[name] and found ~= 'none' then
      error({err = 'WRONGTYPE key ' .. P .. name .. ' is a ' .. found .. ', not a ' .. KINDS[name]})
    end
  end
end
