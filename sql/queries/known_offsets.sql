-- Where each partition of each topic's incarnations resumes.
SELECT topic, incarnation, partition, next, last_offset, last_timestamp_ms, last_digest
FROM etl.offsets
ORDER BY topic, incarnation, partition;
