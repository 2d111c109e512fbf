-- How runs ended: how many, and the newest. An exit code of NULL: the run was killed, or is at work.
SELECT state, exit_code, count(*) AS runs, arg_max(started_at, number) AS newest
FROM etl.runs GROUP BY ALL ORDER BY runs DESC, state, exit_code;
