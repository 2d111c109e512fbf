"""Simulated Lasair alerts: objects of `etl.demo.sky` in the exact shape of the real messages.

An alert holds the measurements of one object up to one night. The clock and the seed are arguments,
so the same arguments give the same bytes.

Notes
-----
Shape and order follow Lasair's ingest and filter services (github.com/lsst-uk/lasair-lsst):
newest measurements first, `dec` renamed to `decl` and therefore last, `UTC` before `alert`.
"""

import json
import math
import random
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

from etl.astro import BANDS, MJD_EPOCH, TAI_MINUS_UTC_S
from etl.demo.sky import SHAPES, Field, Object, Seen, Survey, Watch

# The attributes that a filter selects (300 bytes an alert), those with a light curve of five values
# a point (30 kB), and those with the whole alert packet (300 kB, some above 1 MB).
KINDS = ("plain", "lite", "full")
FIRST_ID = 313637935709683761
RUN_ALERTS, RUN_S = 1000, 5.0  # the most alerts that Lasair sends in one run of a filter
FITS = 61  # shapes of images in stock, for each brightness
_Row = tuple[str, float, float, str, int | None]  # text, flux in g, in r, text, next night
_Texts = list[dict[str, object]]  # of the visits of a field, by the names in a template


def alerts(
    kind: str, count: int, seed: int = 1, *, now: datetime, examples: int = 10
) -> Iterator[bytes]:
    """Yield `count` message values, the same for the same arguments.

    Parameters
    ----------
    kind
        One of `KINDS`.
    seed
        Another seed gives other objects on other visits.
    now
        An aware time; the stream ends with the last night that is over by then.
    examples
        This many alerts at the start have no `UTC`, like those that Lasair puts into a new topic.

    Notes
    -----
    About a third of the alerts show an object again on a later night, with its earlier
    measurements unchanged. Objects are uniform on the sphere between declinations -75 and +5.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> first, second = alerts("plain", 2, now=datetime(2026, 3, 1, tzinfo=UTC), examples=1)
    >>> b"UTC" in first, b"UTC" in second
    (False, True)
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of alert; choose one of {', '.join(KINDS)}")
    if now.tzinfo is None:
        raise ValueError("now has no time zone; pass an aware time such as datetime.now(UTC)")
    return WRITERS[kind](kind, seed, now).alerts(count, max(0, examples))


class _Stream(ABC):
    """A sky and the times of its alerts; each kind of alert adds how they are written."""

    def __init__(self, kind: str, seed: int, now: datetime) -> None:
        self.sky = Survey(f"{kind} {seed}", seed, now)
        self.first_id = FIRST_ID + (seed * 3 + KINDS.index(kind)) % 1_000_000 * 10**8

    @abstractmethod
    def write(self, run: Watch, utc: str) -> Iterator[tuple[str, int | None]]:
        """Yield each object's alert, and the night of its next one."""

    def alerts(self, count: int, examples: int) -> Iterator[bytes]:
        """Yield the alerts in the order of their times, `examples` of them without one."""
        for run, utc in self._runs(count, examples):
            for each, (text, later) in zip(run.objects, self.write(run, utc), strict=True):
                if later is not None:
                    self.sky.expect(run.field, later, each)
                yield text.encode()

    def _runs(self, count: int, examples: int) -> Iterator[tuple[Watch, str]]:
        """Divide each watch's objects into runs of Lasair's filter, whose alerts share a time."""
        mjd_tai = 0.0
        for watch in self.sky.watch(count):
            mjd_tai = max(mjd_tai, watch.field.end_mjd_tai(watch.night) + 0.003)
            rest = watch.objects
            while rest:
                run = watch._replace(objects=rest[: examples or RUN_ALERTS])
                yield run, "" if examples else _utc(mjd_tai)
                examples = max(0, examples - len(run.objects))
                rest = rest[len(run.objects) :]
                mjd_tai += RUN_S / 86400

    def attributes(self, seen: Seen, utc: str) -> str:
        """Write the beginning of an alert with a light curve."""
        return (
            f'{{"diaObjectId": {self.first_id + seen.number}, "ra": {seen.ra_deg!r}, '
            f'"decl": {seen.decl_deg!r}, "nDiaSources": {len(seen.detected)}, '
            f'"lastDiaSourceMjdTai": {seen.newest.mjd_tai!r}, '
            f'"firstDiaSourceMjdTai": {seen.oldest.mjd_tai!r}{utc}, "alert": '
        )


def _utc(mjd_tai: float) -> str:
    time = MJD_EPOCH + timedelta(seconds=mjd_tai * 86400.0 - TAI_MINUS_UTC_S)
    return f', "UTC": "{time:%Y-%m-%d %H:%M:%S}"'


class _Plain(_Stream):
    """Selected attributes; for speed, objects share light curves that differ in brightness."""

    def __init__(self, kind: str, seed: int, now: datetime) -> None:
        super().__init__(kind, seed, now)
        self.curve, self.places = cache(self.sky.curve), cache(_places)

    def write(self, run: Watch, utc: str) -> Iterator[tuple[str, int | None]]:
        rows: dict[Object, _Row] = {}
        (ra, decl), first_id = self.places(run.field), self.first_id
        for number, born in run.objects:
            model = number % SHAPES, born
            if model not in rows:
                rows[model] = self._row(run, model, utc)
            middle, g_njy, r_njy, end, later = rows[model]
            scale = 0.9 + number % 16381 / 81905
            g_text = f"{g_njy * scale:.7f}" if g_njy else "null"
            r_text = f"{r_njy * scale:.7f}" if r_njy else "null"
            text = (
                f'{{"diaObjectId": {first_id + number}, "ra": {ra[number % len(ra)]}, '
                f'"decl": {decl[number % len(decl)]}{middle}{g_text}, "r_psfFlux": {r_text}{end}'
            )
            yield text, later

    def _row(self, run: Watch, model: Object, utc: str) -> _Row:
        """Write the text that all objects of one model share, and their fluxes."""
        seen = self.sky.see(run, 0, self.curve(run.field, model))
        latest = {seen.visits[i].band: seen.curve.flux_njy[i] for i in reversed(seen.detected)}
        middle = (
            f', "lastDiaSourceMjdTai": {seen.newest.mjd_tai!r}, "firstDiaSourceMjdTai": '
            f'{seen.oldest.mjd_tai!r}, "nDiaSources": {len(seen.detected)}, "g_psfFlux": '
        )
        end = f', "classification": "{seen.curve.classification}"{utc}}}'
        return middle, latest.get(1, 0.0), latest.get(2, 0.0), end, seen.later


def _places(field: Field) -> tuple[list[str], list[str]]:
    return list(map(repr, field.ra_deg)), list(map(repr, field.decl_deg))


class _Lite(_Stream):
    """Attributes and the short form of the light curve."""

    def __init__(self, kind: str, seed: int, now: datetime) -> None:
        super().__init__(kind, seed, now)
        self.texts = cache(self._texts)

    def write(self, run: Watch, utc: str) -> Iterator[tuple[str, int | None]]:
        for each in run.objects:
            seen = self.sky.see(run, each[0], self.sky.curve(run.field, each))
            flux, forced_flux = seen.curve.flux_njy, seen.curve.forced_njy
            reliability = seen.curve.reliability
            after, after_forced = self.texts(run.field, seen.curve.level)
            sources = [
                f'{{"psfFlux": {flux[i]!r}{after[i]}{reliability[i]!r}}}' for i in seen.detected
            ]
            points = [f'{{"psfFlux": {forced_flux[i]!r}{after_forced[i]}' for i in seen.forced]
            text = (
                f'{self.attributes(seen, utc)}{{"diaSourcesList": [{", ".join(sources)}], '
                f'"diaForcedSourcesList": [{", ".join(points)}]}}}}'
            )
            yield text, seen.later

    def _texts(self, field: Field, level: int) -> tuple[list[str], list[str]]:
        """Prepare the text that follows each flux, once for all objects with these errors."""
        err, after, after_forced = self.sky.errors_njy(field, level), list[str](), list[str]()
        forced_err = array("f", [1.03 * e for e in err])
        for visit, e, f in zip(field.visits, err, forced_err, strict=True):
            time = f', "midpointMjdTai": {visit.mjd_tai!r}, "band": "{BANDS[visit.band]}"'
            after.append(f', "psfFluxErr": {e!r}{time}, "reliability": ')
            after_forced.append(f', "psfFluxErr": {f!r}{time}}}')
        return after, after_forced


class _Full(_Stream):
    """Attributes and the whole packet; each image takes its shape and offset from a stock."""

    def __init__(self, kind: str, seed: int, now: datetime) -> None:
        super().__init__(kind, seed, now)
        self.texts = cache(self._texts)
        rng = random.Random(f"fits {self.sky.name}")
        self.fits = [[_fit(rng, 7.0 * 2.0**n) for _ in range(FITS)] for n in range(7)]

    def write(self, run: Watch, utc: str) -> Iterator[tuple[str, int | None]]:
        for each in run.objects:
            seen = self.sky.see(run, each[0], self.sky.curve(run.field, each))
            texts = self.texts(run.field, seen.curve.level)
            hosts, reddening = self.sky.host(seen.number)
            dia_object = json.dumps(_dia_object(self.first_id, seen, hosts))
            sources = ", ".join(self._sources(seen, hosts, texts))
            forced = ", ".join(self._forced(seen, hosts, texts))
            text = (
                f'{self.attributes(seen, utc)}{{"diaObject": {dia_object}, '
                f'"diaSourcesList": [{sources}], "diaForcedSourcesList": [{forced}], '
                f'"diaNondetectionLimitsList": [], "ebv": {reddening!r}}}}}'
            )
            yield text, seen.later

    def _sources(self, seen: Seen, hosts: "array[float]", texts: _Texts) -> Iterator[str]:
        number, ra, decl, visits, curve = seen[:5]
        stretch = 1.0 / math.cos(math.radians(decl))
        for i in seen.detected:
            flux, host = curve.flux_njy[i], hosts[visits[i].band]
            snr, off = abs(flux) / curve.err_njy[i], curve.forced_njy[i] - flux
            fit, shift_deg = self.fits[min(6, int(math.log2(snr / 5.0)))][(number + i) % FITS]
            singles = array("f", (flux + 4.0 * off, flux + off + host, 1.03 * flux, snr))
            own = {
                "diaSourceId": visits[i].source_id + number % 2**19,
                "diaObjectId": self.first_id + number,
                "ra": ra + shift_deg * stretch,
                "decl": decl - shift_deg,
                "trailRa": ra - shift_deg * stretch,
                "trailDec": decl + shift_deg,
                "isNegative": "true" if flux < 0.0 else "false",
                "psfFlux": flux,
                "templateFlux": host,
                "reliability": curve.reliability[i],
            }
            own["apFlux"], own["scienceFlux"], own["trailFlux"], own["snr"] = singles
            yield fit % (texts[i] | own)

    def _forced(self, seen: Seen, hosts: "array[float]", texts: _Texts) -> Iterator[str]:
        flux = seen.curve.forced_njy
        fluxes = zip(flux, seen.visits, strict=True)
        science = array("f", [f + hosts[visit.band] for f, visit in fluxes])
        own = {"diaObjectId": self.first_id + seen.number, "ra": seen.ra_deg, "decl": seen.decl_deg}
        for i in seen.forced:
            own["diaForcedSourceId"] = seen.visits[i].source_id + seen.number % 2**19
            own["psfFlux"], own["scienceFlux"] = flux[i], science[i]
            yield FORCED_SOURCE % (texts[i] | own)

    def _texts(self, field: Field, level: int) -> _Texts:
        """Prepare the values that all sources of a visit with these errors share."""
        rng, prepared = random.Random(f"seeing {self.sky.name} {(field.number, level)}"), []
        for visit, e in zip(field.visits, self.sky.errors_njy(field, level), strict=True):
            psf = rng.uniform(0.15, 0.3)
            singles = array("f", (1.69 * e, e, 1.06 * e, 1.03 * e, psf, psf, psf / 50.0))
            texts: dict[str, object] = dict(zip(SINGLES, map(repr, singles), strict=True))
            texts |= {"midpointMjdTai": repr(visit.mjd_tai), "visit": visit.number}
            texts |= {"band": f'"{BANDS[visit.band]}"', "detector": rng.randrange(189)}
            texts["timeProcessedMjdTai"] = repr(visit.mjd_tai + 0.0017)
            prepared.append(texts)
        return prepared


def _fit(rng: random.Random, snr: float) -> tuple[str, float]:
    """Return the fitted values of an image of this brightness, and its offset in degrees."""
    err_deg = 1.7e-4 / snr * rng.uniform(0.8, 1.3)
    fit = {
        "raErr": err_deg,
        "decErr": err_deg * rng.uniform(0.9, 1.1),
        "ra_dec_Cov": err_deg**2 * rng.uniform(-0.1, 0.1),
        "xErr": err_deg * 18000.0,
        "yErr": err_deg * 18000.0,
        "x": rng.uniform(20.0, 4052.0),
        "y": rng.uniform(20.0, 3980.0),
        "ixx": rng.uniform(0.1, 0.35),
        "iyy": rng.uniform(0.1, 0.35),
        "ixy": rng.gauss(0.0, 0.03),
        "trailFluxErr": rng.expovariate(0.1),
        "trailLength": rng.uniform(0.5, 1.5),
        "trailAngle": rng.uniform(-180.0, 180.0),
        "extendedness": rng.random(),
        "psfChi2": rng.gauss(1700.0, 60.0),
        "templateFluxErr": rng.uniform(10.0, 60.0),
    }
    missing = NO_SHAPE if rng.random() < 0.17 else NO_PLACE if rng.random() < 0.004 else ()
    texts = _Known(zip(fit, map(repr, array("f", fit.values())), strict=True))
    texts |= dict.fromkeys(missing, "null")
    texts |= {"shape_flag": "true" if missing else "false", "bboxSize": str(rng.randrange(15, 46))}
    return SOURCE % texts, rng.gauss(0.0, err_deg)


class _Known(dict[str, str]):
    """Values for a part of a template; the other places stay as they are."""

    def __missing__(self, name: str) -> str:
        return f"%({name})s"


def _dia_object(first_id: int, seen: Seen, hosts: "array[float]") -> dict[str, float]:
    """Return statistics of the detections by band; NaN where there are none."""
    err_deg = 2e-5 / math.sqrt(len(seen.detected))
    summary: dict[str, float] = {
        "diaObjectId": first_id + seen.number,
        "validityStartMjdTai": seen.newest.mjd_tai + 0.002,
        "ra": seen.ra_deg,
        "raErr": err_deg,
        "decErr": err_deg,
        "ra_dec_Cov": -0.03 * err_deg**2,
    }
    bands = [_statistics(seen, band, hosts[band]) for band in range(len(BANDS))]
    for names in STATISTICS:
        for band, known in zip(BANDS, bands, strict=True):
            summary |= {f"{band}_{name}": known.get(name, math.nan) for name in names}
    summary |= dict.fromkeys(("firstDiaSourceMjdTai", "lastDiaSourceMjdTai"), math.nan)
    return summary | {"nDiaSources": len(seen.detected), "decl": seen.decl_deg}


def _statistics(seen: Seen, band: int, host_njy: float) -> dict[str, float]:
    curve = seen.curve
    chosen = [i for i in seen.detected if seen.visits[i].band == band]
    if not chosen:
        return {"psfFluxNdata": 0}
    n, flux = len(chosen), [curve.flux_njy[i] for i in chosen]
    mean, err = math.fsum(flux) / n, math.fsum(curve.err_njy[i] for i in chosen) / n
    known = {
        "psfFluxMean": mean,
        "psfFluxMeanErr": err / math.sqrt(n),
        "psfFluxNdata": n,
        "scienceFluxMean": mean + host_njy,
        "scienceFluxMeanErr": err / math.sqrt(n),
        "psfFluxMin": min(flux),
        "psfFluxMax": max(flux),
        "psfFluxErrMean": err,
    }
    if n > 1:
        points = zip((seen.visits[i].mjd_tai for i in chosen), flux, strict=True)
        slopes = (abs((f - g) / (t - u)) for (t, f), (u, g) in pairwise(points))
        known["psfFluxSigma"] = math.sqrt(math.fsum((f - mean) ** 2 for f in flux) / (n - 1))
        known["psfFluxMaxSlope"] = max(slopes)
    return known


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _template(name: str) -> str:
    """Return a JSON object on one line, whose values `%` fills in unless they are fixed."""
    path = Path(__file__).with_name(f"{name}.template")
    return " ".join(path.read_text(encoding="utf-8").split())


STATISTICS = (
    _names("psfFluxMean psfFluxMeanErr psfFluxSigma psfFluxNdata fpFluxMean fpFluxMeanErr"),
    _names("scienceFluxMean scienceFluxMeanErr"),
    _names("psfFluxMin psfFluxMax psfFluxMaxSlope psfFluxErrMean"),
)
SINGLES = _names("apFluxErr psfFluxErr scienceFluxErr forcedErr ixxPSF iyyPSF ixyPSF")
NO_SHAPE = _names(
    "trailFlux trailFluxErr trailRa trailDec trailLength trailAngle extendedness ixx iyy ixy"
)
NO_PLACE = _names("raErr decErr ra_dec_Cov xErr yErr")
SOURCE, FORCED_SOURCE = _template("dia_source"), _template("dia_forced_source")
WRITERS: dict[str, type[_Stream]] = {"plain": _Plain, "lite": _Lite, "full": _Full}
