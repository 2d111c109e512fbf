"""The report's charts: numbers in, coordinates and SVG paths out. Pure.

No text of an alert gets into a path. Points are strokes of length zero with round ends, so that a
thousand of them are one short element.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from etl.astro import BANDS, from_galactic

XY = tuple[float, float]

# The sky map is twice this wide and once this high; its centre is (0, 0), and y grows downwards.
SKY_HALF_WIDTH = 360.0
LIGHT_WIDTH, LIGHT_HEIGHT, LIGHT_EDGE = 300.0, 96.0, 5.0
BIN_NIGHTS = (1, 7, 30, 91, 365)
MOST_BINS = 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a stacked chart: nights [start, end), and the alerts of each series in it."""

    start: date
    end: date
    parts: tuple[int, ...]

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return sum(self.parts)


@dataclass(frozen=True, slots=True)
class LightCurve:
    """A small light curve: for each band the points, the fainter forced ones, and the errors.

    `zero` is the y of flux 0, None where that is outside.
    """

    points: Mapping[str, str]
    forced: Mapping[str, str]
    errors: Mapping[str, str]
    zero: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One point of a light curve: MJD (TAI), flux and its error in nJy."""

    forced: bool
    mjd_tai: float
    band: str | None
    flux_njy: float
    flux_err_njy: float | None
    ab_mag: float | None


def mollweide(ra: float, decl: float) -> XY:
    """Project a position (degrees) so that equal areas stay equal, with RA growing to the left.

    RA 0 is in the middle, the left edge is RA 180.

    Notes
    -----
    Snyder 1987, Map Projections (USGS Professional Paper 1395), equations 31-1 to 31-3, solved for
    the auxiliary angle by Newton's method.

    >>> mollweide(0, 0), mollweide(180, 0)
    ((0.0, 0.0), (-360.0, 0.0))
    """
    sine = math.pi * math.sin(math.radians(decl))
    twice = 2 * math.asin(max(-1.0, min(1.0, math.sin(math.radians(decl)))))
    for _ in range(50):
        slope = 1 + math.cos(twice)
        if slope < 1e-9:  # noqa: PLR2004  a pole, where the equation is solved already
            break
        step = (twice + math.sin(twice) - sine) / slope
        twice -= step
        if abs(step) < 1e-9:  # noqa: PLR2004
            break
    east = ra % 360
    half_turns = (east - 360 if east > 180 else east) / 180  # noqa: PLR2004
    x = -SKY_HALF_WIDTH * half_turns * math.cos(twice / 2)
    return x + 0.0, -SKY_HALF_WIDTH / 2 * math.sin(twice / 2) + 0.0


def line(points: Iterable[XY]) -> str:
    """Return a line through points, broken where it leaves the map on one side.

    >>> line([(0, 0), (1.26, 0), (300, 1), (301, 1)])
    'M0.0 0.0L1.3 0.0M300.0 1.0L301.0 1.0'
    """
    found = list(points)
    breaks = [True] + [abs(b[0] - a[0]) > SKY_HALF_WIDTH / 2 for a, b in pairwise(found)]
    places = zip(breaks, found, strict=True)
    return "".join(f"{'M' if new else 'L'}{x:.1f} {y:.1f}" for new, (x, y) in places)


def dots(points: Iterable[XY]) -> str:
    """Return points as strokes of length zero.

    >>> dots([(1, 2), (3, 4)])
    'M1.0 2.0h0M3.0 4.0h0'
    """
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)


def graticule() -> str:
    """Draw the lines of equal RA, each 60 degrees, and of equal declination, each 30."""
    meridians = [[mollweide(ra, d) for d in range(-90, 91, 5)] for ra in (60, 120, 0, 240, 300)]
    left = [mollweide(180, d) for d in (-60, -30, 0, 30, 60)]
    parallels = [f"M{x:.1f} {y:.1f}H{-x:.1f}" for x, y in left]
    return "".join([*map(line, meridians), *parallels])


def sky_labels() -> list[tuple[str, float, float]]:
    """Return the labels of the graticule, with their places."""
    labels = [(f"{ra}°", ra, 14) for ra in (120, 60, 0, 300, 240)]
    labels += [("+60°", 0, 60), ("\N{MINUS SIGN}60°", 0, -60)]
    return [(label, *mollweide(ra, decl)) for label, ra, decl in labels]


def galactic_plane() -> str:
    """Draw the galactic plane, from edge to edge of the map."""
    places = [from_galactic(turn, 0) for turn in range(360)]
    start = min(range(360), key=lambda n: (places[n][0] - 180) % 360)
    ordered = places[start:] + places[:start]
    return line(mollweide(*place) for place in ordered)


def bars(
    counts: Mapping[date, Sequence[int]], series: int, first: date, last: date
) -> tuple[int, list[Bar]]:
    """Join nights `first` to `last` into at most 120 bars; also return the nights in each."""
    span = (last - first).days + 1
    width = next((n for n in BIN_NIGHTS if span <= n * MOST_BINS), -(-span // MOST_BINS))
    sums: dict[int, list[int]] = {}
    for night, parts in counts.items():
        if first <= night <= last:
            own = sums.setdefault((night - first).days // width, [0] * series)
            for at, part in enumerate(parts):
                own[at] += part
    step = timedelta(days=width)
    none = [0] * series
    return width, [
        Bar(first + n * step, min(first + (n + 1) * step, last + timedelta(days=1)), (*own,))
        for n in range(-(-span // width))
        for own in [sums.get(n, none)]
    ]


def stack(drawn: Sequence[Bar], top: int) -> list[list[tuple[int, float, float, float, float]]]:
    """Place the parts of bars in a box of 1000 by 100: series, x, y, width and height of each."""
    slot = 1000 / len(drawn)
    placed = []
    for n, bar in enumerate(drawn):
        own, below = [], 0
        for series, part in enumerate(bar.parts):
            below += part
            if part:
                y, high = 100 - 100 * below / top, 100 * part / top
                own.append((series, slot * (n + 0.1), y, slot * 0.8, high))
        placed.append(own)
    return placed


def ceiling(value: int) -> int:
    """Return the round number at or above a count, where an axis may end.

    >>> [ceiling(n) for n in (0, 7, 11, 430, 1_000)]
    [1, 10, 20, 500, 1000]
    """
    scale = 1
    while scale * 10 < value:
        scale *= 10
    return next(n * scale for n in (1, 2, 5, 10) if n * scale >= value)


def light_curve(measured: Sequence[Measurement]) -> LightCurve:
    """Place the measurements of one object in a small chart: time to the right, flux upwards."""
    times = [each.mjd_tai for each in measured]
    fluxes = [each.flux_njy for each in measured]
    x_of = _scale(min(times), max(times), LIGHT_EDGE, LIGHT_WIDTH - LIGHT_EDGE)
    y_of = _scale(min(fluxes), max(fluxes), LIGHT_HEIGHT - LIGHT_EDGE, LIGHT_EDGE)
    points: dict[str, list[XY]] = {}
    forced: dict[str, list[XY]] = {}
    errors: dict[str, list[str]] = {}
    for each in measured:
        band = each.band if each.band is not None and each.band in [*BANDS] else "other"
        x, y = x_of(each.mjd_tai), y_of(each.flux_njy)
        (forced if each.forced else points).setdefault(band, []).append((x, y))
        error = each.flux_err_njy
        if not each.forced and error is not None and math.isfinite(error):
            ends = (y_of(each.flux_njy + sign * error) for sign in (1, -1))
            inside = "V".join(f"{max(0.0, min(LIGHT_HEIGHT, end)):.1f}" for end in ends)
            errors.setdefault(band, []).append(f"M{x:.1f} {inside}")
    return LightCurve(
        {band: dots(own) for band, own in points.items()},
        {band: dots(own) for band, own in forced.items()},
        {band: "".join(own) for band, own in errors.items()},
        y_of(0) if min(fluxes) <= 0 <= max(fluxes) else None,
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return the function from a value to its coordinate: the middle where all are equal."""
    # halves, since the difference of two huge numbers may be infinite
    middle, half = low / 2 + high / 2, high / 2 - low / 2

    def place(value: float) -> float:
        share = (value / 2 - middle / 2) / half if half > 0 else 0.0
        return start + (end - start) * (0.5 + share)

    return place


def sky_levels(cells: Iterable[tuple[int, float, float]]) -> Iterator[str]:
    """Return the cells' places as four paths: 1, 2 to 9, 10 to 99, and 100 objects or more."""
    levels: list[list[XY]] = [[], [], [], []]
    for objects, ra, decl in cells:
        levels[0 if objects == 1 else min(3, len(str(objects)))].append(mollweide(ra, decl))
    return map(dots, levels)
