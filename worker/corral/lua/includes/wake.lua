-- include: waiting
-- A place below the queue's global concurrency is free again: whoever added jobs while there was none woke nobody.
local function wake(P, settings)
  if settings.concurrency and redis.call('EXISTS', P .. 'wait', P .. 'prioritized') > 0 then mark_runnable(P, settings) end
end
