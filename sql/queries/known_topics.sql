-- The incarnations of every topic, the newest last.
-- A file that an older program published knows no clusters; there the newest incarnation was read last.
SELECT topic, incarnation, topic_id, cluster_id, bootstrap_servers, coalesce(is_current, incarnation = max(incarnation) OVER (PARTITION BY topic)) AS is_current
FROM (FROM etl.topics UNION ALL BY NAME SELECT NULL::VARCHAR AS cluster_id, NULL::VARCHAR AS bootstrap_servers, NULL::BOOLEAN AS is_current WHERE false)
ORDER BY topic, incarnation;
