-- Every span, gap and file belongs to a recorded run.
SELECT DISTINCT run_id, kind FROM (
    SELECT run_id, 'span' AS kind FROM etl.spans
    UNION ALL SELECT run_id, 'gap' FROM etl.gaps
    UNION ALL SELECT run_id, 'file' FROM etl.files
) ANTI JOIN etl.runs USING (run_id)
ORDER BY ALL;
