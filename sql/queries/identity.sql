-- Which lake this is, and how many transactions have been committed.
SELECT lake_id, generation FROM etl.lake;
