-- Where each partition of each topic's newest incarnation resumes.
SELECT o.topic, o.incarnation, o.partition, o.first, o.next, o.last_offset, o.last_timestamp_ms, o.last_digest
FROM etl.offsets AS o
JOIN (SELECT topic, max(incarnation) AS incarnation FROM etl.topics GROUP BY topic) USING (topic, incarnation)
ORDER BY o.topic, o.partition;
