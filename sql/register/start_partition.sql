-- Add a partition that is new in this incarnation of its topic.
INSERT INTO etl.offsets (topic, incarnation, partition, first, next)
VALUES ($topic, $incarnation, $partition, $first, $first);
