-- The record that identifies a topic's incarnation lies before the offset where the next run begins.
SELECT topic, incarnation, partition, first, next, last_offset
FROM etl.offsets
WHERE next < first OR last_offset >= next OR last_offset < first OR (last_offset IS NULL) <> (last_digest IS NULL)
ORDER BY ALL;
