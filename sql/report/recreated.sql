-- Where a topic was deleted and made anew: what its old life got after it was read last, nobody knows.
SELECT topic, incarnation, lag(last_seen) OVER (PARTITION BY topic ORDER BY incarnation) AS last_read, first_seen
FROM etl.topics
QUALIFY last_read IS NOT NULL
ORDER BY first_seen DESC, topic;
