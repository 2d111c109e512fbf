-- The figures of every finished run are the sums of its spans and gaps.
WITH read AS (
    SELECT run_id, sum(alerts) AS alerts, sum(rejects) AS rejects, sum(tombstones) AS tombstones, sum(absent) AS absent
    FROM etl.spans GROUP BY run_id
), lost AS (
    SELECT run_id, sum("end" - start) AS lost FROM etl.gaps GROUP BY run_id
), sums AS (
    SELECT run_id, {'alerts': r.alerts, 'rejects': r.rejects, 'tombstones': r.tombstones, 'absent': r.absent, 'lost': r.lost} AS recorded,
        {'alerts': coalesce(s.alerts, 0)::BIGINT, 'rejects': coalesce(s.rejects, 0)::BIGINT,
         'tombstones': coalesce(s.tombstones, 0)::BIGINT, 'absent': coalesce(s.absent, 0)::BIGINT,
         'lost': coalesce(l.lost, 0)::BIGINT} AS counted
    FROM etl.runs AS r LEFT JOIN read AS s USING (run_id) LEFT JOIN lost AS l USING (run_id)
    WHERE r.state = 'done'
)
SELECT run_id, recorded::VARCHAR AS recorded, counted::VARCHAR AS counted FROM sums WHERE recorded <> counted ORDER BY ALL;
