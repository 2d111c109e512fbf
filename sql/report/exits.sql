-- How runs ended: how many, and the newest. An exit code of NULL: the run was killed, or is at work.
-- A file that an older program published has no numbers; there the clock orders its runs.
SELECT state, exit_code, count(*) AS runs, arg_max(started_at, coalesce(number, epoch_us(started_at))) AS newest
FROM (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false) GROUP BY ALL ORDER BY runs DESC, state, exit_code;
