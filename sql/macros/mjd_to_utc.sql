-- A Modified Julian Date in TAI, as Rubin's ...MjdTai fields have it, as TIMESTAMP in UTC.
--
--   mjd_tai  days, TAI
--   gives    TIMESTAMP in UTC; NULL for NULL, NaN, times before 1972-01-01 and after the year 9999
--
-- TIMESTAMP has no second 60. What happens during a leap second, 23:59:60.x, is shown as 00:00:00.x
-- of the next day, as POSIX counts: so that second comes twice, and no time is earlier than 23:59:59.
--
-- Source: leap seconds as in leap_seconds.sql, that is IERS Bulletin C 72.
-- Accuracy: the microsecond nearest to the exact value of the DOUBLE. Today's dates (MJD 60000) are
-- 0.63 microseconds apart as DOUBLE, so no more can be had.
CREATE OR REPLACE MACRO mjd_to_utc(mjd_tai) AS
CASE WHEN mjd_tai::DOUBLE >= 41317 AND mjd_tai::DOUBLE < 2973484 THEN list_transform(
    [
        (floor(mjd_tai::DOUBLE)::BIGINT - 40587) * 86400000000
        + round((mjd_tai::DOUBLE - floor(mjd_tai::DOUBLE)) * 86400000000)::BIGINT
    ],
    lambda tai_us: make_timestamp(tai_us - 1000000 * leap_seconds(tai_us, 1))
)[1] END;

COMMENT ON MACRO mjd_to_utc IS 'TIMESTAMP in UTC of a Modified Julian Date in TAI [d], to the microsecond; a leap second shows as the first second of the next day';
