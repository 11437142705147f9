-- The fields that an end depends on, or nil when there is no job.
local function end_facts(P, id)
  local J = P .. id
  local facts = redis.pcall('HMGET', J, 'timestamp', 'atm', 'parentKey', 'parent', 'deid')
  if facts.err or (not facts[1] and redis.call('EXISTS', J) == 0) then return nil end
  return {made = (tonumber(facts[2] or nil) or 0) + 1, parent_key = facts[3], parent = facts[4], deduplication_id = facts[5]}
end
