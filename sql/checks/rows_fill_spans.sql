-- Every row's offset lies in a span, and every span has as many rows as it counts.
WITH found AS (
    SELECT kafka_topic AS topic, etl_incarnation AS incarnation, kafka_partition AS partition, kafka_offset AS "offset", 1 AS alert FROM alerts
    UNION ALL SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset, 0 FROM etl.rejects
), placed AS (
    SELECT f.topic, f.incarnation, f.partition, CASE WHEN "offset" < s."end" THEN s.start END AS start,
        sum(alert)::BIGINT AS alerts, sum(1 - alert)::BIGINT AS rejects
    FROM found AS f ASOF LEFT JOIN etl.spans AS s
        ON f.topic = s.topic AND f.incarnation = s.incarnation AND f.partition = s.partition AND f."offset" >= s.start
    GROUP BY ALL
)
SELECT coalesce(p.topic, s.topic) AS topic, coalesce(p.incarnation, s.incarnation) AS incarnation,
    coalesce(p.partition, s.partition) AS partition, s.start AS span_start, s."end" AS span_end,
    coalesce(p.alerts, 0) AS alerts, coalesce(s.alerts, 0) AS alerts_in_span,
    coalesce(p.rejects, 0) AS rejects, coalesce(s.rejects, 0) AS rejects_in_span
FROM placed AS p FULL JOIN etl.spans AS s
    ON p.topic = s.topic AND p.incarnation = s.incarnation AND p.partition = s.partition AND p.start = s.start
WHERE coalesce(p.alerts, 0) <> coalesce(s.alerts, 0) OR coalesce(p.rejects, 0) <> coalesce(s.rejects, 0)
ORDER BY ALL;
