-- Which objects brighten faster than `mag_per_day` (default 0.1) in a band, from the night before their
-- newest one there to the newest? Fluxes are difference fluxes, averaged over a night with weights
-- 1/error^2; both nights must have `snr` (default 5) or more.
WITH nightly AS (
    SELECT kafka_topic, object_id, band, floor(midpointMjdTai - 0.5) AS mjd_night, avg(midpointMjdTai) AS mjd_tai,
        sum(psfFlux / psfFluxErr ** 2) / sum(1 / psfFluxErr ** 2) AS flux_njy,
        1 / sqrt(sum(1 / psfFluxErr ** 2)) AS flux_err_njy
    FROM detections
    WHERE psfFluxErr > 0 AND isfinite(psfFluxErr) AND isfinite(psfFlux)
    GROUP BY ALL
), steps AS (
    SELECT *, lag(mjd_tai) OVER same AS mjd_tai_before, lag(flux_njy) OVER same AS flux_njy_before,
        lag(flux_err_njy) OVER same AS flux_err_njy_before
    FROM nightly
    WINDOW same AS (PARTITION BY kafka_topic, object_id, band ORDER BY mjd_night)
    QUALIFY row_number() OVER (PARTITION BY kafka_topic, object_id, band ORDER BY mjd_night DESC) = 1
)
SELECT kafka_topic, object_id, band, mjd_tai, njy_to_ab(flux_njy) AS ab_mag,
    (njy_to_ab(flux_njy_before) - njy_to_ab(flux_njy)) / (mjd_tai - mjd_tai_before) AS mag_per_day,
    mjd_tai - mjd_tai_before AS days
FROM steps
WHERE flux_njy >= coalesce(getvariable('snr')::DOUBLE, 5) * flux_err_njy
    AND flux_njy_before >= coalesce(getvariable('snr')::DOUBLE, 5) * flux_err_njy_before
    AND (njy_to_ab(flux_njy_before) - njy_to_ab(flux_njy)) / (mjd_tai - mjd_tai_before)
    > coalesce(getvariable('mag_per_day')::DOUBLE, 0.1)
ORDER BY mag_per_day DESC, kafka_topic, object_id, band;
