-- One object's light curve in one band: each measurement once, out of the histories that alerts repeat.
WITH bright AS (
    SELECT object_id FROM detections GROUP BY object_id HAVING count(*) BETWEEN 12 AND 60
    ORDER BY max(psfFlux / psfFluxErr) DESC LIMIT 1
)
SELECT object_id, round(midpointMjdTai, 2) AS mjd, round(njy_to_ab(psfFlux), 2) AS r_mag,
    bar(psfFlux, 0, max(psfFlux) OVER (), 30) AS flux
FROM detections SEMI JOIN bright USING (object_id)
WHERE band = 'r' AND psfFlux > 0 ORDER BY mjd LIMIT 15;
