-- Is each night complete? How many messages the catalog expects, and how many of them are stored
-- (alerts that can be read now), rejected (kept, but no alert), and lost (dropped by the broker before
-- they were read); `missing` must be 0. A lost message counts for the night of the first message read
-- after it, the latest that it can have; where none was read yet, for the night in which the loss was
-- found. Where files hold several nights, missing messages count for the first night of those that
-- share files.
WITH counted AS (
    SELECT kafka_topic, night, count(*) AS stored, 0 AS rejected FROM alerts GROUP BY ALL
    UNION ALL
    SELECT kafka_topic, night, 0, count(*) FROM etl.rejects GROUP BY ALL
), files AS (
    SELECT topic AS kafka_topic, night, max(coalesce(last_night, night)) AS last_night, sum(rows) AS rows
    FROM etl.files WHERE retired_at IS NULL GROUP BY topic, night
), reaching AS (
    SELECT *, max(last_night) OVER (PARTITION BY kafka_topic ORDER BY night
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
    FROM files
), numbered AS (
    SELECT *, count_if(reached IS NULL OR night > reached) OVER (PARTITION BY kafka_topic ORDER BY night
        ROWS UNBOUNDED PRECEDING) AS block
    FROM reaching
), registered AS (
    SELECT kafka_topic, block, min(night) AS first_night, max(last_night) AS last_night, sum(rows)::BIGINT AS rows
    FROM numbered GROUP BY ALL
), unread AS (
    SELECT r.kafka_topic, coalesce(min(c.night), r.first_night) AS night,
        r.rows - coalesce(sum(stored + rejected), 0)::BIGINT AS rows
    FROM registered AS r LEFT JOIN counted AS c
        ON c.kafka_topic = r.kafka_topic AND c.night BETWEEN r.first_night AND r.last_night
    GROUP BY r.kafka_topic, r.block, r.first_night, r.rows
), read AS (
    SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset, night FROM alerts
    UNION ALL
    SELECT kafka_topic, etl_incarnation, kafka_partition, kafka_offset, night FROM etl.rejects
), dropped AS (
    SELECT g.topic AS kafka_topic, g."end" - g.start AS lost,
        coalesce(arg_min(r.night, r.kafka_offset), (any_value(g.found_at) - INTERVAL 12 HOURS)::DATE) AS night
    FROM etl.gaps AS g LEFT JOIN read AS r
        ON r.kafka_topic = g.topic AND r.etl_incarnation = g.incarnation
        AND r.kafka_partition = g.partition AND r.kafka_offset >= g."end"
    GROUP BY g.topic, g.incarnation, g.partition, g.start, g."end"
), nights AS (
    SELECT kafka_topic, night, stored + rejected AS expected, stored, rejected, 0 AS lost FROM counted
    UNION ALL SELECT kafka_topic, night, rows, 0, 0, 0 FROM unread
    UNION ALL SELECT kafka_topic, night, lost, 0, 0, lost FROM dropped
)
SELECT night, kafka_topic, sum(expected)::BIGINT AS expected, sum(stored)::BIGINT AS stored,
    sum(rejected)::BIGINT AS rejected, sum(lost)::BIGINT AS lost,
    sum(expected - stored - rejected - lost)::BIGINT AS missing
FROM nights
GROUP BY night, kafka_topic
ORDER BY night DESC, kafka_topic;
