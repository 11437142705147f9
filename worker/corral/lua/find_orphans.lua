-- orphans: which of these ids have fallen between the states. Reads only.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  the first id; then more
-- Returns {id, place} for each that has: place '' = a job in no list or set, else the list or set that holds the id of
--         no job
-- Events: none
--
-- include: orphan

local P = KEYS[1]
local found = {}
for _, id in ipairs(ARGV) do
  if is_orphan(P, id) then
    found[#found + 1] = {id, ''}
  elseif redis.call('EXISTS', P .. id) == 0 then
    local place = place_of(P, id)
    if place then found[#found + 1] = {id, place} end
  end
end
return found
