-- Which objects are new tonight, and seem to have a host galaxy? `since`: new since that time (UTC);
-- without it, since the newest night in the lake. `classes`: Sherlock's classes with a galaxy near
-- the object: SN (beside its centre), NT (at its centre), AGN. Needs the field `classification` in the filter.
WITH named AS (
    SELECT NULL::VARCHAR AS classification WHERE false
    UNION ALL BY NAME SELECT * FROM latest
)
SELECT o.kafka_topic, o.object_id, o.first_seen, n.classification::VARCHAR AS classification, o.object_ra, o.object_decl
FROM objects AS o JOIN named AS n USING (kafka_topic, object_id)
WHERE CASE WHEN getvariable('since') IS NULL THEN o.first_night = (SELECT max(night) FROM etl.sightings)
        ELSE o.first_seen >= getvariable('since')::TIMESTAMP END
    AND list_contains(string_split(coalesce(getvariable('classes')::VARCHAR, 'SN,NT,AGN'), ','), n.classification::VARCHAR)
ORDER BY o.first_seen DESC, o.kafka_topic, o.object_id;
