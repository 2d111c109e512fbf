-- The incarnations of every topic, the newest last.
SELECT topic, incarnation, topic_id, cluster_id, bootstrap_servers, is_current FROM etl.topics ORDER BY topic, incarnation;
