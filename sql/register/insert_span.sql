INSERT INTO etl.spans (run_id, checkpoint, topic, incarnation, partition, start, "end", alerts, rejects, tombstones, absent)
VALUES ($run_id, $checkpoint, $topic, $incarnation, $partition, $start, $end, $alerts, $rejects, $tombstones, $absent);
