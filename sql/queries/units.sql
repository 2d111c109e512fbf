-- The unit of every field that has the same one wherever the dictionary names it.
SELECT field, min(unit) FROM etl.dictionary
GROUP BY field HAVING count(DISTINCT coalesce(unit, '')) = 1 AND min(unit) <> '';
