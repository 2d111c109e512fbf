-- No number is NaN, nested ones included: NaN becomes NULL, since it breaks DuckDB's pruning.
SELECT kafka_topic AS topic, night, etl_run_id AS run_id, count(*) AS rows
FROM temp.nan_rows
GROUP BY ALL ORDER BY ALL;
