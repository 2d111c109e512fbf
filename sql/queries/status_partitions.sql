-- Each partition of the incarnation of every topic that was read last: where it resumes, and its figures in this incarnation.
-- A file that an older program published has no numbers; there the clock orders its runs, and the newest incarnation was read last.
WITH read AS (
    SELECT topic, incarnation, partition, sum(s.alerts)::BIGINT AS alerts, sum(s.rejects)::BIGINT AS rejects, arg_max(run_id, coalesce(number, epoch_us(started_at))) AS last_run
    FROM etl.spans AS s JOIN (FROM etl.runs UNION ALL BY NAME SELECT NULL::BIGINT AS number WHERE false) AS r USING (run_id) GROUP BY ALL
), lost AS (
    SELECT topic, incarnation, partition, sum("end" - start)::BIGINT AS lost FROM etl.gaps GROUP BY ALL
)
SELECT o.topic, o.incarnation, o.partition, o.next, coalesce(r.alerts, 0) AS alerts, coalesce(r.rejects, 0) AS rejects,
    coalesce(l.lost, 0) AS lost, r.last_run
FROM etl.offsets AS o
SEMI JOIN (
    SELECT topic, incarnation FROM (FROM etl.topics UNION ALL BY NAME SELECT NULL::BOOLEAN AS is_current WHERE false)
    QUALIFY coalesce(is_current, incarnation = max(incarnation) OVER (PARTITION BY topic))
) USING (topic, incarnation)
LEFT JOIN read AS r USING (topic, incarnation, partition)
LEFT JOIN lost AS l USING (topic, incarnation, partition)
ORDER BY o.topic, o.partition;
