-- The lives of every topic, newest last.
SELECT topic, incarnation, topic_id FROM etl.topics ORDER BY topic, incarnation;
