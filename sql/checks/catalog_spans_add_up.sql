-- In every span alerts + rejects + tombstones + absent = end - start, and none of them is negative.
SELECT run_id, checkpoint, topic, incarnation, partition, start, "end", alerts, rejects, tombstones, absent
FROM etl.spans
WHERE alerts + rejects + tombstones + absent <> "end" - start OR "end" <= start
    OR least(alerts, rejects, tombstones, absent) < 0
ORDER BY ALL;
