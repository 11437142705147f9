-- What a removed job holds goes with it: its deduplication id, and the job kept back behind that.
local function free_owned_id(P, id, deduplication_id)
  local key = P .. 'de:' .. deduplication_id
  if redis.call('GET', key) == id then redis.call('DEL', key, P .. 'dn:' .. deduplication_id) end
end
