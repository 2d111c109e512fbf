-- In each night of observation and band, how many objects are brighter than the last time, and how many
-- fainter, by `sigma` (default 3) errors of the difference or more? `steady` are the others.
WITH nightly AS (
    SELECT kafka_topic, object_id, band, floor(midpointMjdTai - 0.5)::BIGINT AS mjd_night,
        sum(psfFlux / psfFluxErr ** 2) / sum(1 / psfFluxErr ** 2) AS flux_njy,
        1 / sqrt(sum(1 / psfFluxErr ** 2)) AS flux_err_njy
    FROM detections
    WHERE psfFluxErr > 0 AND isfinite(psfFluxErr) AND isfinite(psfFlux)
    GROUP BY ALL
), steps AS (
    SELECT kafka_topic, mjd_night, band,
        (flux_njy - lag(flux_njy) OVER same) / sqrt(flux_err_njy ** 2 + lag(flux_err_njy) OVER same ** 2) AS change
    FROM nightly
    WINDOW same AS (PARTITION BY kafka_topic, object_id, band ORDER BY mjd_night)
)
SELECT kafka_topic, mjd_night, band,
    count(*) FILTER (change >= coalesce(getvariable('sigma')::DOUBLE, 3)) AS rising,
    count(*) FILTER (change <= -coalesce(getvariable('sigma')::DOUBLE, 3)) AS fading,
    count(*) FILTER (abs(change) < coalesce(getvariable('sigma')::DOUBLE, 3)) AS steady
FROM steps
WHERE change IS NOT NULL
GROUP BY ALL
ORDER BY mjd_night DESC, band, kafka_topic;
