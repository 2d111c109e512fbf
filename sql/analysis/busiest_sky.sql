-- Where on the sky do most alerts come from? HEALPix cells (nested) of `order` (0 to 29, default 5:
-- 1.8 degrees across), with the mean place of their alerts (degrees, ICRS) and its galactic latitude.
WITH placed AS (
    SELECT object_id, healpix(coalesce(getvariable('order')::INTEGER, 5), object_ra, object_decl) AS cell,
        cos(radians(object_decl)) * cos(radians(object_ra)) AS x,
        cos(radians(object_decl)) * sin(radians(object_ra)) AS y,
        sin(radians(object_decl)) AS z
    FROM etl.sightings
    WHERE isfinite(object_ra) AND isfinite(object_decl)
), cells AS (
    SELECT cell, count(*) AS alerts, count(DISTINCT object_id) AS objects,
        (degrees(atan2(avg(y), avg(x))) + 360) % 360 AS ra,
        degrees(atan2(avg(z), sqrt(avg(x) ** 2 + avg(y) ** 2))) AS decl
    FROM placed
    GROUP BY cell
)
SELECT cell, alerts, objects, ra, decl, galactic(ra, decl).b AS galactic_latitude
FROM cells
WHERE cell IS NOT NULL
ORDER BY alerts DESC, cell;
