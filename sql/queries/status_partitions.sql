-- Each partition of the incarnation of every topic that was read last: where it resumes, and its figures in this incarnation.
WITH read AS (
    SELECT topic, incarnation, partition, sum(alerts)::BIGINT AS alerts, sum(rejects)::BIGINT AS rejects, max(run_id) AS last_run
    FROM etl.spans GROUP BY ALL
), lost AS (
    SELECT topic, incarnation, partition, sum("end" - start)::BIGINT AS lost FROM etl.gaps GROUP BY ALL
)
SELECT o.topic, o.incarnation, o.partition, o.next, coalesce(r.alerts, 0) AS alerts, coalesce(r.rejects, 0) AS rejects,
    coalesce(l.lost, 0) AS lost, r.last_run
FROM etl.offsets AS o
SEMI JOIN (SELECT topic, incarnation FROM etl.topics WHERE is_current) USING (topic, incarnation)
LEFT JOIN read AS r USING (topic, incarnation, partition)
LEFT JOIN lost AS l USING (topic, incarnation, partition)
ORDER BY o.topic, o.partition;
