-- Runs in the order in which they ran, whatever the clock said.
ALTER TABLE etl.runs ADD COLUMN number BIGINT;
UPDATE etl.runs SET number = ordered.number
FROM (SELECT run_id, row_number() OVER (ORDER BY started_at, run_id) AS number FROM etl.runs) AS ordered
WHERE runs.run_id = ordered.run_id;
COMMENT ON COLUMN etl.runs.number IS '1, 2, 3 ...: the order in which the runs began; a clock may go back';
ALTER TABLE etl.files ADD COLUMN retired_in BIGINT;
-- Their time begins anew, for when they were retired is known by the clock only.
UPDATE etl.files SET retired_in = (SELECT coalesce(max(number), 0) FROM etl.runs) WHERE retired_at IS NOT NULL;
COMMENT ON COLUMN etl.files.retired_in IS 'The number of the run that retired it, from which keep_retired is counted (NULL: live)';
