-- The incarnations of every topic, the newest last.
SELECT topic, incarnation, topic_id FROM etl.topics ORDER BY topic, incarnation;
