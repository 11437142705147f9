-- remove: delete the children that a job still waits for, unless they run or have failed, and all below them.
--
-- KEYS 1  P, the base of the keys of the job's queue
-- ARGV 1  now, epoch ms
--      2  id of the job; it stays, and runs when the last of its open children is gone
--      3  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns nil
-- Events: removed; waiting or delayed
--
-- include: own_keys
-- include: settings
-- include: remove

check_own_keys(KEYS[1], 'wait', 'prioritized', 'delayed', 'waiting-children', 'marker', 'events')
tell_dialect(KEYS[1], ARGV[3])
remove_below(KEYS[1] .. ARGV[2], tonumber(ARGV[1]))
