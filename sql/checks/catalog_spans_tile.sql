-- Spans and gaps tile [first, next) of every partition of every incarnation, without hole or overlap.
WITH steps AS (
    SELECT topic, incarnation, partition, start, "end", 'span' AS kind FROM etl.spans
    UNION ALL SELECT topic, incarnation, partition, start, "end", 'gap' FROM etl.gaps
    UNION ALL SELECT topic, incarnation, partition, next, NULL, 'next' FROM etl.offsets
), ordered AS (
    SELECT topic, incarnation, partition, kind, start, first,
        lag("end") OVER (PARTITION BY topic, incarnation, partition ORDER BY start, "end" NULLS LAST) AS end_before
    FROM steps LEFT JOIN etl.offsets USING (topic, incarnation, partition)
)
SELECT topic, incarnation, partition, kind, start, coalesce(end_before, first) AS should_start
FROM ordered WHERE start IS DISTINCT FROM coalesce(end_before, first)
ORDER BY ALL;
