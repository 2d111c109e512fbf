-- The last time at which a run was at work, by its own clock: this file is at least as new.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT arg_max(coalesce(ended_at, started_at + to_microseconds((seconds * 1000000)::BIGINT)), coalesce(number, epoch_us(started_at))) AS seen_at FROM (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false);
