-- The small live files of nights before $open_night: those of a night, or of a month that is over, where
-- there are several of them.
WITH small AS (
    SELECT topic, kind, path, night, coalesce(last_night, night) AS last_night, rows, bytes,
        date_trunc('month', night)::DATE AS month
    FROM etl.files
    WHERE retired_at IS NULL AND bytes < $large_bytes AND coalesce(last_night, night) < $open_night
)
SELECT topic, kind, CASE WHEN month + INTERVAL 1 MONTH <= $open_night::DATE THEN month ELSE night END AS unit,
    path, night, last_night, rows, bytes
FROM small
QUALIFY count(*) OVER (PARTITION BY topic, kind, unit) >= $fewest
ORDER BY topic, kind, unit, night, path;
