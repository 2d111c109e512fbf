-- One object's light curve in one band, out of the list that its alert carries.
WITH points AS (
    SELECT diaObjectId, unnest(alert.diaSourcesList, recursive := true) FROM (
        FROM lasair_demo_lite WHERE nDiaSources BETWEEN 12 AND 60
        ORDER BY list_max(list_transform(alert.diaSourcesList, lambda s: s.psfFlux / s.psfFluxErr)) DESC LIMIT 1)
)
SELECT diaObjectId, round(midpointMjdTai, 2) AS mjd, round(31.4 - 2.5 * log10(psfFlux), 2) AS r_mag,
    bar(psfFlux, 0, max(psfFlux) OVER (), 30) AS flux
FROM points WHERE band = 'r' AND psfFlux > 0 ORDER BY mjd LIMIT 15;
