-- Each topic in figures: all of its incarnations together, as registered; `incarnation` is the one that was read last.
-- A file that an older program published does not say which was; there it is the newest.
WITH current AS (
    SELECT topic, incarnation, last_seen FROM (FROM etl.topics UNION ALL BY NAME SELECT NULL::BOOLEAN AS is_current WHERE false)
    QUALIFY coalesce(is_current, incarnation = max(incarnation) OVER (PARTITION BY topic))
), read AS (
    SELECT topic, sum(alerts)::BIGINT AS alerts, sum(rejects)::BIGINT AS rejects FROM etl.spans GROUP BY topic
), lost AS (
    SELECT topic, sum("end" - start)::BIGINT AS lost FROM etl.gaps GROUP BY topic
), stored AS (
    SELECT topic, count(*) AS files, sum(bytes)::BIGINT AS bytes, max(coalesce(last_night, night)) FILTER (kind = 'alerts') AS last_night
    FROM etl.files WHERE retired_at IS NULL GROUP BY topic
)
SELECT topic, incarnation, coalesce(alerts, 0) AS alerts, coalesce(rejects, 0) AS rejects, coalesce(lost, 0) AS lost,
    coalesce(files, 0) AS files, coalesce(bytes, 0) AS bytes, last_night, last_seen
FROM current LEFT JOIN read USING (topic) LEFT JOIN lost USING (topic) LEFT JOIN stored USING (topic)
ORDER BY topic;
