-- The incarnations of every topic count 1, 2, 3 ..., one of them was read last, and every partition belongs to one of them.
-- A file that an older program published does not say which was read last.
SELECT topic, incarnation, 'should be incarnation ' || number AS complaint
FROM (SELECT topic, incarnation, row_number() OVER (PARTITION BY topic ORDER BY incarnation) AS number FROM etl.topics)
WHERE incarnation <> number
UNION ALL
SELECT topic, max(incarnation), count_if(is_current) || ' incarnations are marked as read last'
FROM (FROM etl.topics UNION ALL BY NAME SELECT NULL::BOOLEAN AS is_current WHERE false)
GROUP BY topic HAVING count_if(is_current) <> 1 AND count(is_current) > 0
UNION ALL
SELECT DISTINCT topic, incarnation, 'has offsets, but is not a known incarnation'
FROM etl.offsets ANTI JOIN etl.topics USING (topic, incarnation)
ORDER BY ALL;
