-- The learnt schema of every topic, with its history.
SELECT topic, path, version, ordinal, type, wide FROM etl.columns ORDER BY topic, version, ordinal;
