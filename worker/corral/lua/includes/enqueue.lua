-- include: waiting
-- include: delayed
-- A new job takes its place: among the delayed ones, or where workers find it.
local function enqueue(P, settings, id, timestamp, delay, priority, lifo)
  if delay > 0 then
    put_delayed(P, id, timestamp + delay)
    emit_trimmed(P, settings, 'delayed', 'jobId', id, 'delay', timestamp + delay)
    mark_delayed(P)
  else
    put_waiting(P, settings, id, priority, lifo)
    emit_trimmed(P, settings, 'waiting', 'jobId', id)
  end
end
