-- What went wrong beside the job itself, in sentences: the job's own step is done all the same.
local troubles = {}

local function error_text(problem)
  return type(problem) == 'table' and problem.err or tostring(problem)
end

-- Runs something that touches other jobs' keys, of whatever state they are in.
local function attempt(what, act, ...)
  local done, problem = pcall(act, ...)
  if not done then troubles[#troubles + 1] = what .. ': ' .. error_text(problem) end
end
