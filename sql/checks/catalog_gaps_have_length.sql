-- Every gap ends behind its start.
SELECT run_id, checkpoint, topic, incarnation, partition, start, "end" FROM etl.gaps WHERE "end" <= start ORDER BY ALL;
