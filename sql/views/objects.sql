-- Each object of each topic: when its alerts came (kafka_timestamp, UTC; night is the observing night), how
-- many, in how many nights, and its place in the newest of them (degrees, ICRS).
SELECT
    kafka_topic,
    object_id,
    diaObjectId,
    max(objectId) AS objectId,
    min(kafka_timestamp) AS first_seen,
    max(kafka_timestamp) AS last_seen,
    min(night) AS first_night,
    max(night) AS last_night,
    count(*) AS alerts,
    count(DISTINCT night) AS nights,
    arg_max_null(object_ra, age) AS object_ra,
    arg_max_null(object_decl, age) AS object_decl
FROM (
    SELECT kafka_topic, object_id, diaObjectId, objectId, kafka_timestamp, night, object_ra, object_decl,
        row(coalesce(kafka_timestamp, '-infinity'), etl_incarnation, kafka_partition, kafka_offset) AS age
    FROM etl.sightings WHERE object_id IS NOT NULL
)
GROUP BY kafka_topic, object_id, diaObjectId;
