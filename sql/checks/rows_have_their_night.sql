-- In every run all nights begin at one hour of the UTC day, and each row's night agrees with its kafka_timestamp.
WITH found AS (
    SELECT kafka_topic AS topic, etl_run_id AS run_id, night, kafka_timestamp FROM alerts
    UNION ALL SELECT kafka_topic, etl_run_id, night, kafka_timestamp FROM etl.rejects
), nights AS (
    SELECT topic, run_id, night, min(kafka_timestamp) AS earliest, max(kafka_timestamp) AS latest,
        -- the night would start at some hour above `above` and up to `upto`
        greatest(max(epoch_us(kafka_timestamp) - epoch_us(night::TIMESTAMP)) - 86400000000, -1) AS above,
        least(min(epoch_us(kafka_timestamp) - epoch_us(night::TIMESTAMP)), 86399999999) AS upto
    FROM found WHERE kafka_timestamp IS NOT NULL GROUP BY ALL
), runs AS (
    SELECT run_id, max(above) AS above, min(upto) AS upto FROM nights GROUP BY run_id
)
SELECT topic, run_id, night, earliest, latest
FROM nights JOIN runs USING (run_id) WHERE runs.above >= runs.upto
ORDER BY ALL;
