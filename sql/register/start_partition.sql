-- The lake meets a partition for the first time in this life of its topic.
INSERT INTO etl.offsets (topic, incarnation, partition, first, next)
VALUES ($topic, $incarnation, $partition, $first, $first);
