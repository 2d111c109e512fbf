-- The lives of every topic count 1, 2, 3 ..., and every partition belongs to one of them.
SELECT topic, incarnation, 'should be life ' || number AS complaint
FROM (SELECT topic, incarnation, row_number() OVER (PARTITION BY topic ORDER BY incarnation) AS number FROM etl.topics)
WHERE incarnation <> number
UNION ALL
SELECT DISTINCT topic, incarnation, 'has offsets, but no such life is known'
FROM etl.offsets ANTI JOIN etl.topics USING (topic, incarnation)
ORDER BY ALL;
