-- beat: a worker tells of itself, forgets those that are silent, and hears what it is to do.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  the worker's id
--      2  its record, JSON
--      3  after how many ms of silence a worker is forgotten
-- Returns {Redis' time in ms, the order that stands for this worker, '' = none}
-- Events: none
--
-- include: own_keys

local P, worker, silent = KEYS[1], ARGV[1], tonumber(ARGV[3])
local beats, workers, orders = P .. 'corral:beats', P .. 'corral:workers', P .. 'corral:orders'
check_own_keys(P, 'corral:beats', 'corral:workers', 'corral:orders')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A beat from the future is of a time before a failover: whoever lives says another one soon.
local function forget(from, to)
  local ids = redis.call('ZRANGEBYSCORE', beats, from, to, 'LIMIT', 0, 1000)
  -- Even of nobody, for it lets the rest pass in a full Redis: a living worker must not seem dead.
  redis.call('ZREM', beats, '', unpack(ids))
  if #ids > 0 then
    redis.call('HDEL', workers, unpack(ids))
    redis.call('HDEL', orders, unpack(ids))
  end
end

local function is_void(order)
  local till = string.match(order, '^quiet:(%d+)$')
  -- One for longer than a worker is remembered was written by a clock that is wrong.
  return till and (tonumber(till) <= now or tonumber(till) > now + silent)
end

forget('-inf', string.format('(%.0f', now - silent))
forget(string.format('(%.0f', now + silent), '+inf')
redis.call('ZADD', beats, now, worker)
redis.call('HSET', workers, worker, ARGV[2])
-- Nothing is left of a queue that nobody serves any more.
redis.call('PEXPIRE', beats, silent)
redis.call('PEXPIRE', workers, silent)
redis.call('PEXPIRE', orders, silent)

-- An order may outlive its worker. A few of them are looked at with each beat, whosever they are.
local some = redis.call('HRANDFIELD', orders, 3, 'WITHVALUES')
for at = 1, #some, 2 do
  if is_void(some[at + 1]) then redis.call('HDEL', orders, some[at]) end
end
local order = redis.call('HGET', orders, worker) or ''
if is_void(order) then
  redis.call('HDEL', orders, worker)
  order = ''
end
return {now, order}
