-- How does the colour `blue` - `red` (bands, default g and r) of an object change from night to night?
-- `object`: one id; without it, all. From difference fluxes averaged over each night with weights
-- 1/error^2; only nights in which both are positive. Redder is larger.
WITH nightly AS (
    SELECT kafka_topic, object_id, band, floor(midpointMjdTai - 0.5) AS mjd_night, avg(midpointMjdTai) AS mjd_tai,
        sum(psfFlux / psfFluxErr ** 2) / sum(1 / psfFluxErr ** 2) AS flux_njy,
        1 / sqrt(sum(1 / psfFluxErr ** 2)) AS flux_err_njy
    FROM detections
    WHERE psfFluxErr > 0 AND isfinite(psfFluxErr) AND isfinite(psfFlux)
        AND (getvariable('object') IS NULL OR object_id = getvariable('object')::VARCHAR)
    GROUP BY ALL
)
SELECT kafka_topic, object_id, b.mjd_night::BIGINT AS mjd_night, (b.mjd_tai + r.mjd_tai) / 2 AS mjd_tai,
    njy_to_ab(b.flux_njy) - njy_to_ab(r.flux_njy) AS colour_mag,
    sqrt(njy_to_ab_err(b.flux_njy, b.flux_err_njy) ** 2 + njy_to_ab_err(r.flux_njy, r.flux_err_njy) ** 2) AS colour_err_mag
FROM nightly AS b JOIN nightly AS r USING (kafka_topic, object_id, mjd_night)
WHERE b.band = coalesce(getvariable('blue')::VARCHAR, 'g') AND r.band = coalesce(getvariable('red')::VARCHAR, 'r')
    AND b.flux_njy > 0 AND r.flux_njy > 0
ORDER BY kafka_topic, object_id, mjd_night;
