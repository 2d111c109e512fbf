-- The newest alert of each object in each topic, with what the view alerts has of it. Alerts that
-- name no object are left out. Where two alerts have one kafka_timestamp, the higher incarnation,
-- partition and offset is the newer one.
SELECT * FROM etl.sightings
WHERE object_id IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY kafka_topic, object_id, diaObjectId
    ORDER BY kafka_timestamp DESC NULLS LAST, etl_incarnation DESC, kafka_partition DESC, kafka_offset DESC
) = 1;
