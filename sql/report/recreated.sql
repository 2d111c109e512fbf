-- The recreations of each topic: its old incarnation may have got messages after the last reading. One that was
-- read again later, in a cluster of its own, misses nothing.
SELECT topic, incarnation, lag(last_seen) OVER (PARTITION BY topic ORDER BY incarnation) AS last_read, first_seen
FROM etl.topics
QUALIFY last_read <= first_seen
ORDER BY first_seen DESC, topic;
