-- Every offset range that was read, with the rows of it in the lake.
SELECT topic, incarnation, partition, start, "end" FROM etl.spans;
