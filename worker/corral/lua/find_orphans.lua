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
local places = places_of(P, ARGV)
for _, id in ipairs(ARGV) do
  local place = places[id]
  if place then
    if redis.call('EXISTS', P .. id) == 0 then found[#found + 1] = {id, place} end
  elseif is_lost_job(P, id) then
    found[#found + 1] = {id, ''}
  end
end
return found
