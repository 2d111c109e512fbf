-- TAI minus UTC in whole seconds; NULL in gives NULL out, and so does a time before 1972, when UTC
-- did not yet run in whole seconds behind TAI. mjd_to_utc and utc_to_mjd are built on this list.
--
--   us      a time in microseconds since 1970-01-01 00:00:00 on the scale that of_tai names
--   of_tai  0: us counts UTC; 1: us counts TAI, and the answer belongs to the end of a leap second
--
-- Source: IERS Bulletin C up to number 72 (July 2026): no leap second through December 2026. The
-- list is known to be complete until 2027-06-28. A later time gets the last value, which is right as
-- long as no Bulletin C announces a new leap second; then add a line on top.
-- Accuracy: exact.
CREATE OR REPLACE MACRO leap_seconds(us, of_tai) AS CASE
    WHEN us - of_tai * 37000000 >= epoch_us(DATE '2017-01-01') THEN 37
    WHEN us - of_tai * 36000000 >= epoch_us(DATE '2015-07-01') THEN 36
    WHEN us - of_tai * 35000000 >= epoch_us(DATE '2012-07-01') THEN 35
    WHEN us - of_tai * 34000000 >= epoch_us(DATE '2009-01-01') THEN 34
    WHEN us - of_tai * 33000000 >= epoch_us(DATE '2006-01-01') THEN 33
    WHEN us - of_tai * 32000000 >= epoch_us(DATE '1999-01-01') THEN 32
    WHEN us - of_tai * 31000000 >= epoch_us(DATE '1997-07-01') THEN 31
    WHEN us - of_tai * 30000000 >= epoch_us(DATE '1996-01-01') THEN 30
    WHEN us - of_tai * 29000000 >= epoch_us(DATE '1994-07-01') THEN 29
    WHEN us - of_tai * 28000000 >= epoch_us(DATE '1993-07-01') THEN 28
    WHEN us - of_tai * 27000000 >= epoch_us(DATE '1992-07-01') THEN 27
    WHEN us - of_tai * 26000000 >= epoch_us(DATE '1991-01-01') THEN 26
    WHEN us - of_tai * 25000000 >= epoch_us(DATE '1990-01-01') THEN 25
    WHEN us - of_tai * 24000000 >= epoch_us(DATE '1988-01-01') THEN 24
    WHEN us - of_tai * 23000000 >= epoch_us(DATE '1985-07-01') THEN 23
    WHEN us - of_tai * 22000000 >= epoch_us(DATE '1983-07-01') THEN 22
    WHEN us - of_tai * 21000000 >= epoch_us(DATE '1982-07-01') THEN 21
    WHEN us - of_tai * 20000000 >= epoch_us(DATE '1981-07-01') THEN 20
    WHEN us - of_tai * 19000000 >= epoch_us(DATE '1980-01-01') THEN 19
    WHEN us - of_tai * 18000000 >= epoch_us(DATE '1979-01-01') THEN 18
    WHEN us - of_tai * 17000000 >= epoch_us(DATE '1978-01-01') THEN 17
    WHEN us - of_tai * 16000000 >= epoch_us(DATE '1977-01-01') THEN 16
    WHEN us - of_tai * 15000000 >= epoch_us(DATE '1976-01-01') THEN 15
    WHEN us - of_tai * 14000000 >= epoch_us(DATE '1975-01-01') THEN 14
    WHEN us - of_tai * 13000000 >= epoch_us(DATE '1974-01-01') THEN 13
    WHEN us - of_tai * 12000000 >= epoch_us(DATE '1973-01-01') THEN 12
    WHEN us - of_tai * 11000000 >= epoch_us(DATE '1972-07-01') THEN 11
    WHEN us - of_tai * 10000000 >= epoch_us(DATE '1972-01-01') THEN 10
    END;

COMMENT ON MACRO leap_seconds IS 'TAI minus UTC [s] at a time in microseconds since 1970 (of_tai: 1 if that counts TAI, else 0); NULL before 1972; IERS Bulletin C 72, complete until 2027-06-28';
