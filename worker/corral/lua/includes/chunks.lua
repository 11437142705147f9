-- Calls `act` with the items of a list as its arguments, in turns: Lua hands over fewer than 8000 values at once.
local function in_chunks(list, act)
  for first = 1, #list, 5000 do act(unpack(list, first, math.min(first + 4999, #list))) end
end
