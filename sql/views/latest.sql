-- The newest alert of each object in each topic, with its columns of the view alerts. Alerts that name no
-- object are left out. Of two alerts with one kafka_timestamp, the one with the higher incarnation,
-- partition and offset is the newer one.
SELECT * FROM etl.sightings
WHERE object_id IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY kafka_topic, object_id, diaObjectId
    ORDER BY kafka_timestamp DESC NULLS LAST, etl_incarnation DESC, kafka_partition DESC, kafka_offset DESC
) = 1;
