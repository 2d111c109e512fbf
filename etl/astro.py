"""What astronomers agree on: bands, time scales, magnitudes, and the galactic pole."""

import math
from datetime import UTC, datetime

# Rubin's bands from blue to red, and their colours in Rubin's technote RTN-045 (lsst.utils 2026),
# which colour-blind readers can tell apart.
BANDS = "ugrizy"
BAND_ON_LIGHT = dict(
    zip(BANDS, ("#0c71ff", "#49be61", "#c61c00", "#ffc200", "#f341a2", "#5d0000"), strict=True)
)
BAND_ON_DARK = dict(
    zip(BANDS, ("#3eb7ff", "#30c39f", "#ff7e00", "#2af5ff", "#a7f9c1", "#fdc900"), strict=True)
)

# Day 0 of the modified Julian date, and the day of 1970-01-01.
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
UNIX_EPOCH_MJD = 40587

# Constant since 2017: no alert of Lasair's is older.
TAI_MINUS_UTC_S = 37

# AB magnitude of 1 nJy.
ZERO_POINT_MAG = 31.4

# Galactic north pole (ICRS), and the galactic longitude of the celestial north pole.
GALACTIC_POLE_RA_DEG, GALACTIC_POLE_DECL_DEG = 192.85948, 27.12825
CELESTIAL_POLE_L_DEG = 122.93192


def from_galactic(longitude: float, latitude: float) -> tuple[float, float]:
    """Return right ascension and declination of a galactic place, to a map's accuracy. Degrees.

    >>> [round(x, 1) for x in from_galactic(0, 0)]
    [266.4, -28.9]
    """
    b, pole = math.radians(latitude), math.radians(GALACTIC_POLE_DECL_DEG)
    turn = math.radians(CELESTIAL_POLE_L_DEG - longitude)
    sine = math.sin(pole) * math.sin(b) + math.cos(pole) * math.cos(b) * math.cos(turn)
    y = math.cos(b) * math.sin(turn)
    x = math.cos(pole) * math.sin(b) - math.sin(pole) * math.cos(b) * math.cos(turn)
    ra = (GALACTIC_POLE_RA_DEG + math.degrees(math.atan2(y, x))) % 360
    return ra, math.degrees(math.asin(sine))
