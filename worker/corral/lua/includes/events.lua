-- One entry of the events stream. `emit` leaves the length alone, `emit_trimmed` keeps it near its target.
local function emit(P, ...)
  redis.call('XADD', P .. 'events', '*', 'event', ...)
end

local function emit_trimmed(P, settings, ...)
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', settings.events, '*', 'event', ...)
end
