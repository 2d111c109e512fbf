-- The Modified Julian Date in TAI of a time in UTC: the scale of Rubin's ...MjdTai fields.
--
--   utc    TIMESTAMP in UTC (a TIMESTAMPTZ is taken as the instant that it is)
--   gives  days, TAI, DOUBLE; NULL for NULL, infinite times and times before 1972-01-01
--
-- TIMESTAMP has no second 60, so no time inside a leap second can be asked for.
--
-- Source: leap seconds as in leap_seconds.sql, that is IERS Bulletin C 72.
-- Accuracy: the nearest DOUBLE or its neighbour, which is within a microsecond until the year 2151;
-- mjd_to_utc gives the same microsecond back.
CREATE OR REPLACE MACRO utc_to_mjd(utc) AS list_transform(
    [epoch_us(coalesce(utc, NULL::TIMESTAMP))],
    lambda utc_us: list_transform(
        [utc_us + 1000000 * leap_seconds(utc_us, 0)],
        lambda tai_us: 40587 + tai_us // 86400000000 + (tai_us % 86400000000) / 86400000000.0
    )[1]
)[1];

COMMENT ON MACRO utc_to_mjd IS 'Modified Julian Date in TAI [d] of a TIMESTAMP in UTC, to the precision of a DOUBLE (0.63 microseconds today)';
