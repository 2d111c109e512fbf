-- The account of each topic over all of its incarnations: every offset since the lake began to read it.
WITH expected AS (
    SELECT topic, sum(next - first)::BIGINT AS offsets FROM etl.offsets GROUP BY topic
), read AS (
    SELECT topic, sum(alerts)::BIGINT AS alerts, sum(rejects)::BIGINT AS rejects, sum(tombstones)::BIGINT AS tombstones,
        sum(absent)::BIGINT AS absent
    FROM etl.spans GROUP BY topic
), lost AS (
    SELECT topic, sum("end" - start)::BIGINT AS lost FROM etl.gaps GROUP BY topic
), stored AS (
    SELECT topic, sum(bytes)::BIGINT AS bytes, min(night) AS first_night, max(coalesce(last_night, night)) AS last_night
    FROM etl.files WHERE retired_at IS NULL GROUP BY topic
), seen AS (
    SELECT topic, min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(incarnation) AS incarnation
    FROM etl.topics GROUP BY topic
)
SELECT topic, incarnation, first_seen, last_seen, first_night, last_night, coalesce(offsets, 0) AS offsets,
    coalesce(alerts, 0) AS alerts, coalesce(rejects, 0) AS rejects, coalesce(tombstones, 0) AS tombstones,
    coalesce(absent, 0) AS absent, coalesce(lost, 0) AS lost, coalesce(bytes, 0) AS bytes
FROM seen LEFT JOIN expected USING (topic) LEFT JOIN read USING (topic) LEFT JOIN lost USING (topic) LEFT JOIN stored USING (topic)
ORDER BY alerts DESC, topic;
