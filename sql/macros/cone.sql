-- The alerts within a circle on the sky, nearest first: all columns of etl.sightings, and how far each
-- is from the centre.
--
--   ra, dec        centre, degrees, ICRS
--   radius_arcsec  arcsec; 648000 and more is the whole sky
--   gives          the rows with their separation_arcsec; none for NULL
--
-- The declination alone is compared first: Parquet keeps its range for each row group, so that files
-- and row groups elsewhere are not read. This holds at the poles and across RA 0, too.
--
-- Source and accuracy: separation_arcsec; positions are the alerts' own, that of the object.
CREATE OR REPLACE MACRO cone(ra, "dec", radius_arcsec) AS TABLE
SELECT *
FROM (
    SELECT *, separation_arcsec(object_ra, object_decl, ra, "dec") AS separation_arcsec
    FROM etl.sightings
    WHERE object_decl BETWEEN "dec" - radius_arcsec / 3600 - 1e-9
        AND "dec" + radius_arcsec / 3600 + 1e-9
)
WHERE separation_arcsec <= radius_arcsec
ORDER BY separation_arcsec;

COMMENT ON MACRO TABLE cone IS 'Alerts within radius_arcsec of (ra, dec) [deg], nearest first, with their separation_arcsec';
