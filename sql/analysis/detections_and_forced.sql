-- Do detections agree with the forced photometry of the same visit? Per topic and band: how many pairs,
-- the median of detection - forced in nJy, and half the central 68 % of that difference in units of the
-- forced error. Both are measured on the same pixels, so that about 1 or less is agreement.
SELECT d.kafka_topic, d.band, count(*) AS pairs,
    median(d.psfFlux - f.psfFlux) AS median_difference_njy,
    (quantile_cont((d.psfFlux - f.psfFlux) / f.psfFluxErr, 0.84)
        - quantile_cont((d.psfFlux - f.psfFlux) / f.psfFluxErr, 0.16)) / 2 AS scatter_sigma
FROM detections AS d JOIN forced AS f USING (kafka_topic, object_id, midpointMjdTai, band)
WHERE f.psfFluxErr > 0 AND isfinite(f.psfFluxErr) AND isfinite(d.psfFlux) AND isfinite(f.psfFlux)
GROUP BY d.kafka_topic, d.band
ORDER BY d.kafka_topic, d.band;
