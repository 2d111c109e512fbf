-- Which objects were detected again after `quiet_days` (default 30) or more without a detection in any
-- band? One row for each return, the newest first.
SELECT kafka_topic, object_id, midpointMjdTai AS back_mjd_tai, mjd_to_utc(midpointMjdTai) AS back_utc, band, quiet_days
FROM (
    SELECT *, midpointMjdTai - lag(midpointMjdTai) OVER (
        PARTITION BY kafka_topic, object_id ORDER BY midpointMjdTai, band
    ) AS quiet_days
    FROM detections
)
WHERE quiet_days >= coalesce(getvariable('quiet_days')::DOUBLE, 30)
ORDER BY back_mjd_tai DESC, kafka_topic, object_id;
