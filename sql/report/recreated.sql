-- The recreations of each topic: its old incarnation may have got messages after the last reading.
SELECT topic, incarnation, lag(last_seen) OVER (PARTITION BY topic ORDER BY incarnation) AS last_read, first_seen
FROM etl.topics
QUALIFY last_read IS NOT NULL
ORDER BY first_seen DESC, topic;
