-- Objects by HEALPix cell of order 5 (1.8 degrees), with the mean of their places in it (degrees, ICRS).
-- An object counts once over all topics. Cell NULL: the objects without a place on the sky.
WITH places AS (
    SELECT object_id, arg_max(object_ra, last_seen) AS ra, arg_max(object_decl, last_seen) AS decl
    FROM objects GROUP BY object_id
), cells AS (
    -- DuckDB refuses the sine of an infinity
    SELECT healpix(5, ra, decl) AS cell, CASE WHEN cell IS NOT NULL THEN radians(ra) END AS ra,
        CASE WHEN cell IS NOT NULL THEN radians(decl) END AS decl
    FROM places
)
SELECT cell, count(*) AS objects,
    degrees(atan2(avg(sin(ra) * cos(decl)), avg(cos(ra) * cos(decl)))) AS ra,
    degrees(asin(greatest(-1, least(1, avg(sin(decl)))))) AS decl
FROM cells GROUP BY cell ORDER BY cell;
