-- By which hour the newest drain filed its alerts.
SELECT night_starts FROM etl.runs WHERE night_starts IS NOT NULL ORDER BY number DESC LIMIT 1;
