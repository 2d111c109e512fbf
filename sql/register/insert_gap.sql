INSERT INTO etl.gaps (run_id, checkpoint, topic, incarnation, partition, start, "end", found_at, reason)
VALUES ($run_id, $checkpoint, $topic, $incarnation, $partition, $start, $end, $found_at, $reason);
