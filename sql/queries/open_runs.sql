-- The runs that never ended: they were killed.
SELECT run_id FROM etl.runs WHERE state = 'open' ORDER BY run_id;
