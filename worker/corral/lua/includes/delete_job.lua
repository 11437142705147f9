-- A job's hash and everything that hangs on it, its lock apart, which runs out.
local function delete_job(J)
  redis.call('DEL', J, J .. ':logs', J .. ':dependencies', J .. ':processed', J .. ':failed', J .. ':unsuccessful')
end
