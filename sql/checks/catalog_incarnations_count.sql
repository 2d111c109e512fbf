-- The incarnations of every topic count 1, 2, 3 ..., one of them was read last, and every partition belongs to one of them.
SELECT topic, incarnation, 'should be incarnation ' || number AS complaint
FROM (SELECT topic, incarnation, row_number() OVER (PARTITION BY topic ORDER BY incarnation) AS number FROM etl.topics)
WHERE incarnation <> number
UNION ALL
SELECT topic, max(incarnation), count(*) FILTER (is_current) || ' incarnations are marked as read last'
FROM etl.topics GROUP BY topic HAVING count(*) FILTER (is_current) <> 1
UNION ALL
SELECT DISTINCT topic, incarnation, 'has offsets, but is not a known incarnation'
FROM etl.offsets ANTI JOIN etl.topics USING (topic, incarnation)
ORDER BY ALL;
