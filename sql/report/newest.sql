-- The objects seen last, each once over all topics. With $light only those of topics whose alerts have
-- light curves.
WITH carriers AS (
    SELECT DISTINCT topic FROM etl.columns
    WHERE path LIKE 'alert.diaSourcesList[]%' OR path LIKE 'alert.diaForcedSourcesList[]%'
)
SELECT object_id, list(DISTINCT kafka_topic ORDER BY kafka_topic) AS topics, max(o.last_seen) AS last_seen,
    arg_max(object_ra, o.last_seen) AS ra, arg_max(object_decl, o.last_seen) AS decl,
    sum(alerts)::BIGINT AS alerts, max(nights) AS nights
FROM objects AS o
WHERE NOT coalesce($light, false) OR kafka_topic IN (FROM carriers)
GROUP BY object_id
ORDER BY max(o.last_seen) DESC NULLS LAST, object_id
LIMIT $most;
