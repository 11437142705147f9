-- remove: one job, from whatever state it is in, and what is below it if asked.
--
-- KEYS 1  P, the base of the queue's keys
-- ARGV 1  job id
--      2  now, epoch ms
--      3  1 = its children too, and theirs
--      4  dialect: 'v5', 'v6' or '' (ask the keys)
-- Returns 1; 0: a worker runs it (or an open one below it); -1: there is none; -8: a scheduler's pending iteration
-- Events: removed; waiting or delayed
--
-- include: settings
-- include: remove

tell_dialect(KEYS[1], ARGV[4])
return remove_job(KEYS[1], ARGV[1], ARGV[3] == '1', tonumber(ARGV[2]))
