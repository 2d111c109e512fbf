-- The last time at which a run was at work, by its own clock: this file is at least as new.
SELECT arg_max(coalesce(ended_at, started_at + to_microseconds((seconds * 1000000)::BIGINT)), number) AS seen_at FROM etl.runs;
