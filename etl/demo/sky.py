"""A simulated sky and a small survey of it like Rubin's: visits, objects, and measurements.

An object is a light curve on the visits of its field. The clock and the seed are arguments, so
the same arguments give the same measurements. Nothing here knows the form of a message.

Notes
-----
Fluxes are those of difference images in nJy and may be negative; times are MJD in TAI, and a
night is the whole number of its MJD. Bands are indices into `BANDS`, visits of a field indices
into `Field.visits`.
"""

import math
import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import product
from typing import NamedTuple

from etl.astro import BANDS, MJD_EPOCH, ZERO_POINT_MAG

DEPTH_MAG = (23.5, 24.4, 23.9, 23.4, 22.7, 21.9)  # five sigma, one visit, usual conditions
SUPERNOVA = (0.6, 1.35, 1.0, 0.85, 0.8, 0.75)  # relative flux by band
SUPERNOVA_DECLINE_D = (12.0, 17.0, 26.0, 33.0, 36.0, 38.0)
VARIABLE = (1.2, 1.0, 0.8, 0.65, 0.6, 0.55)
SUNLIGHT = (0.25, 0.7, 1.0, 1.12, 1.15, 1.1)
STARLIGHT = (0.3, 0.7, 1.0, 1.2, 1.3, 1.4)
PAIRS_DARK, PAIRS_BRIGHT = ("ug", "gr", "gr", "ri", "iz"), ("ri", "iz", "zy")
STREAM_NIGHTS = 12  # nights with alerts
HISTORY_NIGHTS = 95  # nights of measurements before the first of them
REPEATS = 0.36  # share of objects seen before, in each night but the first
FIELDS_RA, FIELDS_DECL, DEEP_FIELDS = 8, 5, 4
SIN_DECL = math.sin(math.radians(-75.0)), math.sin(math.radians(5.0))
NOISE_LEVELS = 3  # detectors differ a little in depth
SHAPES = 6  # different shapes of the objects that appear in one field in one night
PRECOVERY_D = 30.0  # forced photometry begins this long before the first detection
NEW_MOON_MJD, MONTH_D = 60674.94, 29.530588
Object = tuple[int, int]  # number and night of the first alert; all else follows from them


class Visit(NamedTuple):
    """One exposure; `err_njy` is the error of a flux in it."""

    mjd_tai: float
    night: int
    band: int
    number: int
    source_id: int
    err_njy: float


@dataclass(frozen=True, eq=False)  # equal only to itself: a key for caches
class Field:
    """A part of the sky whose objects share their visits."""

    number: int
    ra_deg: list[float]
    decl_deg: list[float]
    visits: list[Visit]
    nights: dict[int, tuple[int, int]]  # night -> its visits, half-open

    def end_mjd_tai(self, night: int) -> float:
        """Return the time of a night's last visit."""
        return self.visits[self.nights[night][1] - 1].mjd_tai


class Watch(NamedTuple):
    """A field in one night, and the objects that it shows."""

    night: int
    field: Field
    objects: list[Object]


class Curve(NamedTuple):
    """An object measured on all visits of its field, in single precision like the real ones."""

    classification: str
    level: int  # of noise
    err_njy: "array[float]"
    flux_njy: "array[float]"
    forced_njy: "array[float]"
    reliability: list[float]
    detected: list[int]


class Seen(NamedTuple):
    """The measurements in an alert, newest first, and the night of the object's next alert."""

    number: int
    ra_deg: float
    decl_deg: float
    visits: list[Visit]
    curve: Curve
    detected: list[int]
    forced: range
    later: int | None
    newest: Visit  # of the detections
    oldest: Visit


class Survey:
    """The sky of one seed up to `now`; with another name it has other objects."""

    def __init__(self, name: str, seed: int, now: datetime) -> None:
        self.name = name
        self.last_night = math.floor((now - MJD_EPOCH) / timedelta(days=1) - 0.45)
        rng = random.Random(f"survey {seed}")
        self.noise = [rng.gauss(0.0, 1.0) for _ in range(8192)]
        self.reliability = [rng.betavariate(5.0, 0.6) for _ in range(2048)]
        self.fields = _observe(rng, self.last_night)
        self.errors_njy = cache(_errors_njy)
        self.again: dict[tuple[int, int], list[Object]] = {}
        self.shape = cache(self._shape)

    def watch(self, count: int) -> Iterator[Watch]:
        """Yield the objects that each field shows in each night, in order of time: `count` in all.

        The caller calls `expect` for an object that a later night may show again.
        """
        draw, number = random.Random(f"stream {self.name}").random, 0
        nights = max(1, min(STREAM_NIGHTS, count // 5))
        for k in range(nights):
            night = self.last_night - nights + 1 + k
            fields = [field for field in self.fields if night in field.nights]
            fields.sort(key=lambda field: field.end_mjd_tai(night))
            size = count * (k + 1) // nights - count * k // nights
            seen = [self.again.pop((night, field.number), []) for field in fields]
            part = min(1.0, size * REPEATS / max(1, sum(map(len, seen))))
            seen = [objects[: int(part * len(objects) + draw())] for objects in seen]
            new = [0] * len(fields)
            for _ in range(size - sum(map(len, seen))):
                new[int(draw() * len(fields))] += 1
            for field, objects, more in zip(fields, seen, new, strict=True):
                objects += [(n, night) for n in range(number, number + more)]
                yield Watch(night, field, objects)
                number += more

    def expect(self, field: Field, night: int, each: Object) -> None:
        """Let a later night choose from the objects that it detects again."""
        self.again.setdefault((night, field.number), []).append(each)

    def curve(self, field: Field, each: Object) -> Curve:
        """Measure an object on all visits of its field; its first night detects it."""
        number, night = each
        name, faintest_mag, relative = self.shape(field, night, number % SHAPES)
        rng = random.Random(f"{self.name} {number}")
        level = number % NOISE_LEVELS
        err = self.errors_njy(field, level)
        size, (start, end) = len(err), field.nights[night]
        needed = 6.5 * min(err[i] / max(abs(relative[i]), 0.05) for i in range(start, end))
        mag = max(16.0, faintest_mag + math.log10(1.0 - rng.random()) / 0.6)
        peak = max(10 ** ((ZERO_POINT_MAG - mag) / 2.5), needed * (1.0 + rng.expovariate(3.0)))
        flux, detected, at = array("f"), list[int](), 0
        while bisect_left(detected, start) == bisect_left(detected, end):
            at = rng.randrange(len(self.noise) - 2 * size)
            rows = zip(relative, err, self.noise[at : at + size], strict=True)
            flux = array("f", [peak * r + e * g for r, e, g in rows])
            pairs = zip(flux, err, strict=True)
            detected = [i for i, (f, e) in enumerate(pairs) if not -5.0 * e < f < 5.0 * e]
        rows = zip(flux, err, self.noise[at + size : at + 2 * size], strict=True)
        forced = array("f", [f + 0.3 * e * g for f, e, g in rows])
        reliability = self.reliability[number % 1024 :][:size]
        return Curve(name, level, err, flux, forced, reliability, detected)

    def _shape(self, field: Field, night: int, n: int) -> tuple[str, float, list[float]]:
        """Choose a class of object that is bright in this night, and its relative fluxes."""
        rng = random.Random(f"shape {self.name} {(field.number, night, n)}")
        name, shape, faintest_mag = rng.choices(CLASSES, CLASS_WEIGHTS)[0]
        relative, tonight = [0.0], slice(None)
        while max(map(abs, relative[tonight])) < 0.1:
            relative, tonight = shape(rng, field.visits, night), slice(*field.nights[night])
        return name, faintest_mag, relative

    def see(self, at: Watch, number: int, curve: Curve) -> Seen:
        """Return the measurements of an object up to the end of a night."""
        field, end = at.field, at.field.nights[at.night][1]
        known = bisect_left(curve.detected, end)
        detected = curve.detected[:known][::-1]
        newest, oldest = field.visits[detected[0]], field.visits[detected[-1]]
        since = oldest.mjd_tai - PRECOVERY_D
        start = bisect_left(field.visits, since, key=lambda visit: visit.mjd_tai)
        forced = range(end - 1, start - 1, -1)
        later = field.visits[curve.detected[known]].night if known < len(curve.detected) else None
        ra = field.ra_deg[number % len(field.ra_deg)]
        decl = field.decl_deg[number % len(field.decl_deg)]
        place = number, ra, decl
        return Seen(*place, field.visits, curve, detected, forced, later, newest, oldest)

    def host(self, number: int) -> tuple["array[float]", float]:
        """Return the flux of an object's host by band in nJy, and the reddening."""
        rng = random.Random(f"host {self.name} {number}")
        host_njy = 10 ** ((ZERO_POINT_MAG - rng.uniform(17.0, 25.0)) / 2.5)
        return array("f", [host_njy * light for light in STARLIGHT]), rng.expovariate(20.0)


def _errors_njy(field: Field, level: int) -> "array[float]":
    factor = 0.94 + 0.03 * level
    return array("f", [visit.err_njy * factor for visit in field.visits])


def _observe(rng: random.Random, last_night: int) -> list[Field]:
    """Plan all visits; their numbers count up through each night as at the telescope."""
    # Coprime numbers of coordinates: no two of the first million objects share both.
    low, height = SIN_DECL[0], (SIN_DECL[1] - SIN_DECL[0]) / FIELDS_DECL
    width = 360.0 / FIELDS_RA
    ra = [[width * (x + rng.random()) for _ in range(1009)] for x in range(FIELDS_RA)]
    decl = [
        [math.degrees(math.asin(low + height * (y + rng.random()))) for _ in range(997)]
        for y in range(FIELDS_DECL)
    ]
    fields = [Field(n, x, y, [], {}) for n, (x, y) in enumerate(product(ra, decl))]
    deep = set(rng.sample(range(len(fields)), DEEP_FIELDS))
    for night in range(last_night - STREAM_NIGHTS - HISTORY_NIGHTS, last_night + 1):
        bright = abs((night - NEW_MOON_MJD) / MONTH_D % 1.0 - 0.5) < 0.2
        plan: list[tuple[float, int, int]] = []
        for n in range(len(fields)):
            planned = (_deep if n in deep else _wide)(rng, bright=bright)
            plan += ((night + time, BANDS.index(band), n) for time, band in planned)
        date = int((MJD_EPOCH + timedelta(days=night)).strftime("%Y%m%d"))
        for n, (mjd_tai, band, where) in enumerate(sorted(plan), start=40):
            depth_mag = rng.gauss(DEPTH_MAG[band] - (0.4 if bright and band < 3 else 0.0), 0.2)
            err_njy = 10 ** ((ZERO_POINT_MAG - depth_mag) / 2.5) / 5.0
            visits, nights = fields[where].visits, fields[where].nights
            nights[night] = nights.get(night, (len(visits),))[0], len(visits) + 1
            base = ((night + 10339) << 42) + (n << 27)
            visits.append(Visit(mjd_tai, night, band, date * 100000 + n, base, err_njy))
    return fields


def _wide(rng: random.Random, *, bright: bool) -> list[tuple[float, str]]:
    """Visit a field in pairs half an hour apart, on about every third night."""
    if rng.random() > 0.38:
        return []
    start, bands = rng.uniform(0.02, 0.30), rng.choice(PAIRS_BRIGHT if bright else PAIRS_DARK)
    if rng.random() < 0.35:
        bands += rng.choice("riz")
    return [(start + n * rng.uniform(0.016, 0.024), band) for n, band in enumerate(bands)]


def _deep(rng: random.Random, *, bright: bool) -> list[tuple[float, str]]:
    """Visit a deep field many times in quick succession, on every other night."""
    if rng.random() > 0.55:
        return []
    start, bands = rng.uniform(0.02, 0.30), "rriiizzzyy" if bright else "uugggrriiizz"
    return [(start + n * 0.00044 + rng.random() * 1e-5, band) for n, band in enumerate(bands)]


def _supernova(rng: random.Random, visits: list[Visit], night: int) -> list[float]:
    """Nothing before the explosion, a rise of weeks, an exponential decline, fastest in blue."""
    explosion, stretch = night - rng.uniform(3.0, 60.0), rng.uniform(0.9, 1.5)
    relative = []
    for visit in visits:
        age_d = max(0.0, (visit.mjd_tai - explosion) / stretch)
        decline = math.exp(-age_d / SUPERNOVA_DECLINE_D[visit.band]) / 0.385
        relative.append(SUPERNOVA[visit.band] * (1.0 - math.exp(-((age_d / 14.0) ** 2))) * decline)
    return relative


def _periodic(rng: random.Random, visits: list[Visit], _night: int) -> list[float]:
    """Two harmonics with a period of hours to months, less the phase that the template shows."""
    turn = 2.0 * math.pi / 10 ** rng.uniform(-0.6, 2.0)
    start, second, template = rng.random() * 7.0, rng.uniform(0.0, 0.5), rng.uniform(-0.4, 0.4)
    relative = []
    for visit in visits:
        phase = turn * visit.mjd_tai + start
        wave = math.sin(phase) + second * math.sin(2.0 * phase + 1.0)
        relative.append(VARIABLE[visit.band] * (wave - template))
    return relative


def _irregular(rng: random.Random, visits: list[Visit], _night: int) -> list[float]:
    """A damped random walk, as active galaxies show, less the level of the template."""
    memory_d, template = rng.uniform(20.0, 150.0), rng.gauss(0.0, 0.5)
    level, before, relative = rng.gauss(0.0, 1.0), visits[0].mjd_tai, []
    for visit in visits:
        keep = math.exp((before - visit.mjd_tai) / memory_d)
        level = level * keep + rng.gauss(0.0, 1.0) * math.sqrt(1.0 - keep * keep)
        before = visit.mjd_tai
        relative.append(VARIABLE[visit.band] * (level - template))
    return relative


def _moving(_rng: random.Random, visits: list[Visit], night: int) -> list[float]:
    """One night's light of something that has moved on by the next."""
    return [SUNLIGHT[visit.band] * (visit.night == night) for visit in visits]


_Shape = Callable[[random.Random, list[Visit], int], list[float]]
CLASSES: tuple[tuple[str, _Shape, float], ...] = (  # Sherlock's name, light curve, faintest peak
    ("SN", _supernova, 23.0),
    ("VS", _periodic, 22.0),
    ("AGN", _irregular, 22.5),
    ("ORPHAN", _moving, 23.0),
)
CLASS_WEIGHTS = (0.45, 0.3, 0.19, 0.06)
