-- HEALPix pixel of a position, NESTED scheme: all positions of a pixel of a lower order k are
-- healpix(order_, ...) >> 2 * (order_ - k).
--
--   order_   0 to 29; there are 12 * 4^order_ pixels (nside = 2^order_)
--   ra, dec  degrees; in ICRS the pixels are those of Gaia, Rubin and of HiPS
--   gives    BIGINT; NULL for NULL, NaN, infinity, and where order_ or dec is out of range
--
-- Source: Gorski et al. 2005, ApJ 622, 759, section 5 and its appendix; near the poles with the cosine
-- of the declination, as healpy does, since 1 - sin(dec) loses its digits there.
-- Accuracy: healpy's pixel. Only a position closer to a border than 1e-6 of a pixel at order 29
-- (1e-9 arcsec) may fall on the other side of it.
CREATE OR REPLACE MACRO healpix(order_, ra, "dec") AS
CASE WHEN order_ BETWEEN 0 AND 29 AND isfinite(ra::DOUBLE) AND "dec"::DOUBLE BETWEEN -90 AND 90
THEN list_transform(
    -- Fields are read as place['n']: place.n would be the column n of a user's table called place.
    -- nside, the right ascension in quarter turns, the sine and the cosine of the declination
    [{
        'n': 1::BIGINT << order_::INTEGER,
        't': (CASE WHEN ra::DOUBLE >= 0 AND ra::DOUBLE < 360 THEN ra::DOUBLE
            ELSE (ra::DOUBLE % 360 + 360) % 360 END) / 90,
        'z': sin(radians("dec"::DOUBLE)),
        'c': cos(radians("dec"::DOUBLE))
    }],
    lambda place: list_transform(
        [CASE
            WHEN abs(place['z']) <= 2 / 3 THEN {
                'n': place['n'],
                'base': NULL::BIGINT,
                'north': place['z'] > 0,
                'j': floor(place['n'] * (0.5 + place['t'] - place['z'] * 0.75))::BIGINT,
                'k': floor(place['n'] * (0.5 + place['t'] + place['z'] * 0.75))::BIGINT
            }
            ELSE {
                'n': place['n'],
                'base': floor(place['t'])::BIGINT,
                'north': place['z'] > 0,
                'j': least(place['n'] - 1, floor(
                    (place['t'] - floor(place['t'])) * place['n'] * place['c']
                    / sqrt((1 + abs(place['z'])) / 3)
                )::BIGINT),
                'k': least(place['n'] - 1, floor(
                    (1 - place['t'] + floor(place['t'])) * place['n'] * place['c']
                    / sqrt((1 + abs(place['z'])) / 3)
                )::BIGINT)
            }
        END],
        -- the base pixel, and the column and the row in it
        lambda spot: list_transform(
            [CASE
                WHEN spot['base'] IS NULL THEN {
                    'base': CASE
                        WHEN spot['j'] // spot['n'] = spot['k'] // spot['n']
                        THEN spot['j'] // spot['n'] | 4
                        WHEN spot['j'] // spot['n'] < spot['k'] // spot['n']
                        THEN spot['j'] // spot['n']
                        ELSE spot['k'] // spot['n'] + 8
                    END * spot['n'] * spot['n'],
                    'xy': [spot['k'] % spot['n'], spot['n'] - 1 - spot['j'] % spot['n']]
                }
                WHEN spot['north'] THEN {
                    'base': spot['base'] * spot['n'] * spot['n'],
                    'xy': [spot['n'] - 1 - spot['k'], spot['n'] - 1 - spot['j']]
                }
                ELSE {
                    'base': (spot['base'] + 8) * spot['n'] * spot['n'],
                    'xy': [spot['j'], spot['k']]
                }
            END],
            -- a zero is put before every bit of both, then they are woven into one number
            lambda pixel: list_transform(
                [list_transform(list_transform(list_transform(list_transform(list_transform(
                    pixel['xy'],
                    lambda bits: (bits | (bits << 16)) & 281470681808895),
                    lambda bits: (bits | (bits << 8)) & 71777214294589695),
                    lambda bits: (bits | (bits << 4)) & 1085102592571150095),
                    lambda bits: (bits | (bits << 2)) & 3689348814741910323),
                    lambda bits: (bits | (bits << 1)) & 6148914691236517205)],
                lambda apart: pixel['base'] + apart[1] + 2 * apart[2]
            )[1]
        )[1]
    )[1]
)[1] END;

COMMENT ON MACRO healpix IS 'HEALPix pixel, NESTED, of order_ 0 to 29 (nside = 2^order_) at a position (ra, dec) [deg]; the same as healpy';
