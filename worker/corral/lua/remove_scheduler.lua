-- remove: end a job scheduler. Its pending iteration goes with it if it is delayed; one that waits already still runs.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  the scheduler's id
-- Returns 1, or 0: there is none
-- Events: removed
--
-- include: events
-- include: delete_job
-- include: scheduled

local P = KEYS[1]
local score = redis.call('ZSCORE', P .. 'repeat', ARGV[1])
if not score then return 0 end

-- The iterations of the oldest repeatable jobs have ids that their key does not tell; they are due at the score.
local function find_pending()
  local plain = 'repeat:' .. ARGV[1] .. ':' .. score
  if redis.call('ZSCORE', P .. 'delayed', plain) then return plain end
  local first = tonumber(score) * 4096
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'delayed', first, first + 4095)) do
    if is_pending_iteration(P, id) and redis.call('HGET', P .. id, 'rjk') == ARGV[1] then return id end
  end
end

local pending = find_pending()
if pending then
  redis.call('ZREM', P .. 'delayed', pending)
  delete_job(P .. pending)
  emit(P, 'removed', 'jobId', pending, 'prev', 'delayed')
end
redis.call('ZREM', P .. 'repeat', ARGV[1])
redis.call('DEL', P .. 'repeat:' .. ARGV[1])
return 1
