import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import astropy.units as u
import astropy_healpix
import duckdb
import erfa
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord, angular_separation

from etl.statements import sql_folder
from tests.sql import macro_script
from tests.sql.lakes import Writer

OLD_DUCKDB = Path(__file__).resolve().parents[2] / ".compat" / "duckdb-1.5.6"
MACROS = sql_folder() / "macros"
NAMES = [
    "cone",
    "galactic",
    "healpix",
    "leap_seconds",
    "mjd_to_utc",
    "njy_to_ab",
    "njy_to_ab_err",
    "separation_arcsec",
    "utc_to_mjd",
]
UNIX_MJD = 40587
EPOCH = datetime(1970, 1, 1)
LEAPS = [
    (datetime(int(year), int(month), 1), int(offset))
    for year, month, offset in erfa.leap_seconds.get()
    if year >= 1972
]
ARCSEC = np.degrees(1.0) * 3600.0
TOLERANCE_ARCSEC = 1e-9

Answer = Callable[..., Any]
"""Return the one column of `SELECT expression FROM given`, where `given` has the named columns."""


@pytest.fixture(scope="module", params=["2.0", "1.5.6"])
def answer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answer]:
    """Ask the DuckDB of this project and an older one that readers may have, in far time zones."""
    old = request.param == "1.5.6"
    if old and not OLD_DUCKDB.is_dir():
        pytest.skip(f"no {OLD_DUCKDB}: make test puts DuckDB 1.5.6 there")
    folder = tmp_path_factory.mktemp("macros")
    paths = [MACROS, folder / "in.parquet", folder / "out.parquet"]
    zone = "America/St_Johns" if old else "Asia/Tokyo"
    process = subprocess.Popen(
        [sys.executable, macro_script.__file__, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(OLD_DUCKDB) if old else "", "TZ": zone},
        text=True,
        bufsize=1,
    )

    def asked(sql: str, **columns: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        pq.write_table(pa.table(columns or {"nothing": [None]}), folder / "in.parquet")
        query = sql if sql.startswith(("SELECT", "FROM")) else f"SELECT {sql} AS x FROM given"
        process.stdin.write(json.dumps(query) + "\n")
        wrong = json.loads(process.stdout.readline())
        assert not wrong, wrong
        table = pq.read_table(folder / "out.parquet")
        return table.column(0).to_pylist() if table.num_columns == 1 else table.to_pydict()

    with process:
        yield asked
        process.kill()


def sky(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread positions over the sky, and add the poles and what is special along RA and Dec."""
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    near = np.degrees(10.0 ** rng.uniform(-12, 0, count // 10))
    special = np.meshgrid(
        [0.0, 1e-12, 45.0, 90.0, 180.0, 270.0, 359.9999999999, 192.85948, 12.85948],
        [-90.0, -89.9999999999, -41.8103149, 0.0, 1e-12, 27.12825, -27.12825, 89.9999999999, 90.0],
    )
    caps = np.concatenate([90.0 - near[::2], near[1::2] - 90.0])
    return (
        np.concatenate([ra, ra[: len(caps)], special[0].ravel()]),
        np.concatenate([dec, np.clip(caps, -90, 90), special[1].ravel()]),
    )


# -------------------------------------------------------------------------------------------- time
def shown(mjd_tai: float) -> datetime:
    """Ask ERFA which UTC a TIMESTAMP can show, to its microsecond."""
    day = float(np.floor(mjd_tai))
    first, second = erfa.taiutc(2400000.5 + day, mjd_tai - day)
    year, month, of_month, time = erfa.d2dtf("UTC", 6, first, second)
    clock = timedelta(
        hours=int(time["h"]),
        minutes=int(time["m"]),
        seconds=int(time["s"]),
        microseconds=int(time["f"]),
    )
    return datetime(int(year), int(month), int(of_month)) + clock


def around_leaps() -> list[float]:
    """Return TAI dates from 3 s before each leap second's end to 2 s after, each quarter second."""
    return [
        float(Fraction((at - EPOCH) // timedelta(seconds=1) + offset, 86400) + UNIX_MJD + step)
        for at, offset in LEAPS[1:]
        for step in (Fraction(n, 4 * 86400) for n in range(-12, 9))
    ]


def test_mjd_to_utc_is_what_erfa_says(answer: Answer) -> None:
    """A TAI date becomes ERFA's UTC to the microsecond, from 1972 on and around leap seconds."""
    mjds = [*np.random.default_rng(1).uniform(41317.001, 62000, 3000), *around_leaps()]
    for mjd, utc in zip(mjds, answer("mjd_to_utc(m)", m=mjds), strict=True):
        assert abs(utc - shown(mjd)) <= timedelta(microseconds=1), mjd


def test_mjd_to_utc_gives_the_nearest_microsecond(answer: Answer) -> None:
    """Nothing is lost beyond half a microsecond, which is all that TIMESTAMP can't hold."""
    mjds = list(np.random.default_rng(2).uniform(57800, 62000, 3000))
    for mjd, utc in zip(mjds, answer("mjd_to_utc(m)", m=mjds), strict=True):
        exact = (Fraction(mjd) - UNIX_MJD) * 86400 * 10**6 - 37 * 10**6
        assert abs((utc - EPOCH) // timedelta(microseconds=1) - exact) <= Fraction(1, 2)


def test_a_leap_second_shows_as_the_first_second_of_the_next_day(answer: Answer) -> None:
    """Before it 23:59:59.5, in it and after it 00:00:00.5; no time goes further back than that."""
    mjds = [float(Fraction(2 * s + 1, 2 * 86400) + 57754) for s in range(34, 38)]
    assert answer("mjd_to_utc(m)", m=mjds) == [
        datetime(2016, 12, 31, 23, 59, 58, 500000),
        datetime(2016, 12, 31, 23, 59, 59, 500000),
        datetime(2017, 1, 1, 0, 0, 0, 500000),
        datetime(2017, 1, 1, 0, 0, 0, 500000),
    ]


def test_utc_to_mjd_is_what_erfa_says_and_back(answer: Answer) -> None:
    """A UTC becomes ERFA's TAI date to a microsecond; mjd_to_utc gives exactly that UTC back."""
    micros = np.random.default_rng(3).integers(0, 55 * 365 * 86400 * 10**6, 3000)
    utcs = [datetime(1972, 1, 1) + timedelta(microseconds=int(us)) for us in micros]
    utcs += [
        at + timedelta(microseconds=us)
        for at, _ in LEAPS
        for us in (-(10**6), -1, 0, 1, 10**6)
        if at.year > 1972 or us >= 0
    ]
    got = answer(
        "SELECT utc_to_mjd(t) AS mjd, mjd_to_utc(utc_to_mjd(t)) AS back FROM given", t=utcs
    )
    assert got["back"] == utcs
    for mjd, utc in zip(got["mjd"], utcs, strict=True):
        seconds = utc.second + utc.microsecond / 1e6
        first, second = erfa.utctai(
            *erfa.dtf2d("UTC", utc.year, utc.month, utc.day, utc.hour, utc.minute, seconds)
        )
        expected = Fraction(float(first)) - Fraction(4800001, 2) + Fraction(float(second))
        assert abs(Fraction(mjd) - expected) * 86400 * 10**6 < 1, utc


def test_times_that_have_no_answer_are_null(answer: Answer) -> None:
    """NULL, NaN, infinity, and what lies before 1972 or after 9999 give NULL, and no error."""
    odd = [None, float("nan"), float("inf"), -float("inf"), 41317.0, 40587.0, 1e300, -1e300, 3e6]
    assert answer("mjd_to_utc(m)", m=[*odd, 60000.0])[:-1] == [None] * len(odd)
    assert answer("mjd_to_utc(NULL)") == [None]
    assert answer("utc_to_mjd(NULL)") == [None]
    times = [None, datetime(1971, 12, 31, 23, 59, 59), datetime(1, 1, 1)]
    assert answer("utc_to_mjd(t)", t=pa.array(times, pa.timestamp("us"))) == [None] * 3
    assert answer("utc_to_mjd('infinity'::TIMESTAMP)") == [None]


def test_utc_to_mjd_takes_what_stands_for_a_time(answer: Answer) -> None:
    """Text, a date and an instant with its zone mean the same UTC, in any session time zone."""
    for text in ("'2026-02-14'", "DATE '2026-02-14'", "TIMESTAMPTZ '2026-02-14 02:00:00+02'"):
        assert answer(f"utc_to_mjd({text})") == [61085 + 37 / 86400]


def test_the_leap_seconds_are_all_there() -> None:
    """Whoever updates astropy and finds a new leap second there is told that ours lacks it."""
    assert LEAPS[-1] == (datetime(2017, 1, 1), 37)


# ------------------------------------------------------------------------------------------ fluxes
def test_njy_to_ab_is_the_ab_magnitude_of_astropy(answer: Answer) -> None:
    """A flux becomes its AB magnitude within 1e-13 mag of astropy, from 1e-3 to 1e12 nJy."""
    flux = 10.0 ** np.random.default_rng(4).uniform(-3, 12, 1000)
    expected = (flux * u.nJy).to_value(u.ABmag)
    assert answer("njy_to_ab(f)", f=flux) == pytest.approx(expected, abs=1e-13)


def test_njy_to_ab_err_is_the_slope_of_the_magnitude(answer: Answer) -> None:
    """The error is what a small step of the flux does to astropy's magnitude."""
    rng = np.random.default_rng(5)
    flux, step = 10.0 ** rng.uniform(-3, 12, 1000), 1e-4
    brighter, fainter = (((1 + s) * flux * u.nJy).to_value(u.ABmag) for s in (step, -step))
    expected = (fainter - brighter) / 2
    got = answer("njy_to_ab_err(f, e)", f=flux, e=flux * step)
    assert got == pytest.approx(expected, rel=1e-7)


def test_fluxes_without_magnitude_are_null(answer: Answer) -> None:
    """NULL, zero, negative, NaN and infinite fluxes give NULL, and no error."""
    odd = [None, 0.0, -17.5, float("nan"), float("inf"), -float("inf")]
    assert answer("njy_to_ab(f)", f=[*odd, 1.0]) == [None] * 6 + [31.4]
    assert answer("njy_to_ab_err(f, 1)", f=odd) == [None] * 6
    assert answer("njy_to_ab_err(1, e)", e=[None, -1.0, float("nan"), float("inf")]) == [None] * 4
    assert answer("njy_to_ab(NULL)") == answer("njy_to_ab_err(NULL, NULL)") == [None]


# --------------------------------------------------------------------------------------- positions
def test_separation_is_that_of_astropy(answer: Answer) -> None:
    """Any two positions are as far apart as astropy says, within 1e-9 arcsec, antipodes too."""
    ra, dec = sky(4000)
    rng = np.random.default_rng(6)
    other = rng.permutation(len(ra))
    near = 10.0 ** rng.uniform(-13, 1, len(ra))
    pairs = [
        (ra, dec, ra[other], dec[other]),
        (ra, dec, ra + near, np.clip(dec + near[other], -90, 90)),
        (ra, dec, (ra + 180.0) % 360.0, -dec),
        (ra, dec, (ra + 180.0 + near) % 360.0, np.clip(-dec + near[other], -90, 90)),
        (ra, dec, ra, dec),
        (ra, dec, ra - 360.0, dec),
    ]
    a, b, c, d = (np.concatenate(part) for part in zip(*pairs, strict=True))
    wide = [np.radians(part.astype(np.longdouble)) for part in (a, b, c, d)]
    expected = (angular_separation(*wide) * np.degrees(np.longdouble(1)) * 3600).astype(float)
    got = np.array(answer("separation_arcsec(a, b, c, d)", a=a, b=b, c=c, d=d))
    assert np.abs(got - expected).max() < TOLERANCE_ARCSEC


def test_separation_keeps_all_digits_of_a_small_angle(answer: Answer) -> None:
    """A millionth of an arcsecond is measured to 14 digits, not only to a fixed number of them."""
    steps = 2.0 ** -np.arange(1, 45)
    got = answer("separation_arcsec(33.5, 0, 33.5, d)", d=steps)
    assert got == pytest.approx(steps * 3600, rel=1e-14)
    assert answer("separation_arcsec(d, 0, 0, 0)", d=steps) == pytest.approx(got, rel=1e-14)


def test_galactic_is_that_of_astropy(answer: Answer) -> None:
    """A position has astropy's galactic coordinates, within 1e-9 arcsec, at the poles too."""
    ra, dec = sky(4000)
    got = answer("galactic(ra, d)", ra=ra, d=dec)
    l_deg, b_deg = (np.array([place[name] for place in got]) for name in "lb")
    assert l_deg.min() >= 0
    assert l_deg.max() < 360
    expected = SkyCoord(ra, dec, unit="deg", frame="icrs").galactic
    apart = angular_separation(
        np.radians(l_deg), np.radians(b_deg), expected.l.radian, expected.b.radian
    )
    assert apart.max() * ARCSEC < TOLERANCE_ARCSEC


def reference_pixel(order: int, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Ask astropy-healpix for a pixel."""
    pixels = astropy_healpix.lonlat_to_healpix(
        ra * u.deg, np.clip(dec, -90, 90) * u.deg, nside=1 << order, order="nested"
    )
    return np.asarray(pixels, dtype=np.int64)


def test_healpix_is_that_of_astropy_healpix(answer: Answer) -> None:
    """A position has the same pixel at every order; on a border, one that touches it."""
    ra, dec = sky(1000)
    columns = ", ".join(f"healpix({order}, ra, d) AS p{order}" for order in range(30))
    got = answer(f"SELECT {columns} FROM given", ra=ra, d=dec)
    step = 1e-9 / 3600
    for order in range(30):
        pixels = np.array(got[f"p{order}"])
        plain = slice(0, 1000)
        assert (pixels[plain] == reference_pixel(order, ra[plain], dec[plain])).all()
        touching = [
            pixels == reference_pixel(order, ra + i * step, dec + j * step)
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        assert np.logical_or.reduce(touching).all(), order


def test_healpix_orders_nest(answer: Answer) -> None:
    """The pixel of a lower order is the one of a higher order without its last bits."""
    ra, dec = sky(500)
    got = answer("healpix(11, ra, d) = healpix(29, ra, d) >> 36", ra=ra[:500], d=dec[:500])
    assert all(got)


def test_positions_that_are_none_are_null(answer: Answer) -> None:
    """NULL, NaN and infinity in a position, or an order out of range, give NULL and no error."""
    odd = [None, float("nan"), float("inf"), -float("inf")]
    for sql in (
        "galactic(x, 0)",
        "galactic(0, x)",
        "separation_arcsec(x, 0, 0, 0)",
        "separation_arcsec(0, x, 0, 0)",
        "separation_arcsec(0, 0, x, 0)",
        "separation_arcsec(0, 0, 0, x)",
        "healpix(3, x, 0)",
        "healpix(3, 0, x)",
    ):
        got = answer(sql, x=pa.array([*odd, 1.0], pa.float64()))
        assert got[:4] == [None] * 4, sql
        assert got[4] is not None, sql
    assert answer("healpix(n, 0, 0)", n=[None, -1, 30, 64, 1 << 40]) == [None] * 5
    assert answer("healpix(3, 0, d)", d=[90.0001, -91.0]) == [None] * 2
    assert answer("galactic(NULL, NULL)") == answer("healpix(NULL, NULL, NULL)") == [None]


# -------------------------------------------------------------------------------------------- cone
@pytest.mark.parametrize(
    ("ra", "dec", "radius_arcsec"),
    [
        (10.0, -20.0, 18000.0),
        (0.0, 5.0, 36000.0),
        (359.99, -5.0, 36000.0),
        (77.0, 90.0, 18000.0),
        (77.0, -89.5, 18000.0),
        (200.0, 40.0, 120 * 3600.0),
        (200.0, 40.0, 648000.0),
        (370.0, -20.0, 18000.0),
    ],
)
def test_cone_finds_what_is_inside(
    answer: Answer, ra: float, dec: float, radius_arcsec: float
) -> None:
    """A cone holds the positions that astropy finds inside, nearest first, wherever it lies."""
    all_ra, all_dec = sky(20000)
    got = answer(
        f"FROM cone({ra!r}, {dec!r}, {radius_arcsec!r})",
        ra=all_ra,
        decl=all_dec,
        n=range(len(all_ra)),
    )
    center, each = np.radians([ra, dec]), np.radians([all_ra, all_dec])
    apart = angular_separation(*center, *each) * ARCSEC
    inside = np.flatnonzero(apart <= radius_arcsec)
    assert set(got["n"]) == set(inside.tolist())
    assert len(inside) > 10
    assert got["separation_arcsec"] == pytest.approx(np.sort(apart[inside]), abs=1e-8)
    assert [name for name in got if name not in ("object_ra", "object_decl")] == [
        "ra",
        "decl",
        "n",
        "separation_arcsec",
    ]


def test_cone_finds_what_is_just_on_its_rim(answer: Answer) -> None:
    """A radius that is exactly the separation finds the alert: rounding loses none on the way."""
    ra, decl = [10.0] * 3, [61.48, 67.77, 6.2]
    for center, there in zip((85.18, 29.04, 61.56), decl, strict=True):
        (radius,) = answer(f"separation_arcsec(10, {center}, 10, {there})")
        assert there in answer(f"SELECT decl FROM cone(10, {center}, {radius!r})", ra=ra, decl=decl)
    assert answer("SELECT decl FROM cone(10, 6.2, 0)", ra=ra, decl=decl) == [6.2]


def test_cone_passes_over_what_has_no_position(answer: Answer) -> None:
    """An alert without a finite position costs no other alert; NULL asked finds nothing."""
    odd = [None, float("nan"), float("inf"), 1.0]
    got = answer("FROM cone(1, 1, 36000)", ra=[*odd, 1.0, 1.0, 1.0], decl=[1.0] * 4 + odd[:3])
    assert got["separation_arcsec"] == [0.0]
    assert answer("SELECT ra FROM cone(NULL, 1, 5)", ra=[1.0], decl=[1.0]) == []
    assert answer("SELECT ra FROM cone(1, 1, NULL)", ra=[1.0], decl=[1.0]) == []


def test_cone_skips_row_groups_by_declination(tmp_path: Path) -> None:
    """A small cone reads the row groups near its declination, and no others."""
    decl = np.linspace(-90, 90, 100_000)
    table = pa.table({"ra": np.full(len(decl), 10.0), "decl": decl})
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=10_000)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW given AS FROM read_parquet('{tmp_path}/sorted.parquet')")
        macro_script.load(connection, MACROS)
        connection.execute("SET enable_profiling = 'json'")
        profile = connection.execute("EXPLAIN ANALYZE FROM cone(10, -33, 60)").fetchall()[0][1]
    read = json.loads(profile)["query"]
    assert (read["total_row_groups_scanned"], read["total_row_groups_to_scan"]) == (1, 10)


# ---------------------------------------------------------------------------- where they are asked
def test_names_in_a_query_do_not_get_into_a_macro(answer: Answer) -> None:
    """Columns and tables may be called what a macro calls its own values; it gives the same."""
    names = ("icrs", "axes", "place", "spot", "pixel", "bits", "apart", "tai_us", "utc_us", "z")
    odd = ", ".join(f"{number} AS {name}" for number, name in enumerate(names))
    given = "60000.25 AS x, 10.5 AS ra, -20.25 AS d, 9 AS n, 5 AS xy, 6 AS base, 7 AS y"
    values = "mjd_to_utc(x), utc_to_mjd(mjd_to_utc(x)), galactic(ra, d), healpix(n, ra, d)"
    rows = [f"SELECT {values} FROM (SELECT {given})"] + [
        f"SELECT {values} FROM (SELECT {columns}) AS {table}"
        for table in names
        for columns in (given, f"{given}, {odd}")
    ]
    got = answer(" UNION ALL ".join(rows))
    for column in got.values():
        assert column == [column[0]] * len(rows)


def test_columns_called_like_parameters_stay_in_their_places(answer: Answer) -> None:
    """Arguments count by their order, also where columns are called like other parameters."""
    got = answer(
        "SELECT njy_to_ab_err(flux_err, flux) AS a, njy_to_ab_err(3, 50) AS b, "
        'galactic("dec", ra) AS c, galactic(10, 20) AS d, '
        'healpix("dec", order_, ra) AS e, healpix(10, 5, 20) AS f '
        'FROM (SELECT 50 AS flux, 3 AS flux_err, 20 AS ra, 10 AS "dec", 5 AS order_)'
    )
    assert (got["a"], got["c"], got["e"]) == (got["b"], got["d"], got["f"])


PUBLISHED = """
import json, sys
import duckdb
path, how = sys.argv[1:]
with duckdb.connect(path if how == "opened" else ":memory:", read_only=how == "opened") as con:
    con.execute("SET enable_progress_bar = false")
    if how == "attached":
        con.execute(f"ATTACH '{path}' AS lake (READ_ONLY)")
        con.execute("USE lake")
    print(json.dumps(con.execute(
        "SELECT ra, separation_arcsec, galactic(ra, decl).b, healpix(9, ra, decl), "
        "mjd_to_utc(lastDiaSourceMjdTai)::VARCHAR, utc_to_mjd(UTC), njy_to_ab(f), "
        "njy_to_ab_err(f, 1) FROM cone(10, -20, 3600)"
    ).fetchall()))
"""


@pytest.mark.parametrize("how", ["opened", "attached"])
def test_macros_work_in_the_published_file(tmp_path: Path, how: str) -> None:
    """Opened read-only or attached and used, both DuckDBs give the same from the file alone."""
    if not OLD_DUCKDB.is_dir():
        pytest.skip(f"no {OLD_DUCKDB}: make test puts DuckDB 1.5.6 there")
    writer = Writer(tmp_path / "lake")
    text = (
        '{"diaObjectId": 7, "ra": 10.2, "decl": %s, "lastDiaSourceMjdTai": 61085.5, "f": 3631.5, '
        '"dec": 1.5, "radius_arcsec": 2.5, "UTC": "2026-02-14 13:41:02"}'
    )
    writer.run([(text % decl).encode() for decl in ("-20.0", "-20.5", "-35.0", "NaN")])
    lake = writer.close()
    old, new = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", PUBLISHED, str(lake.public), how],
                env=os.environ | {"PYTHONPATH": path},
                capture_output=True,
                check=True,
            ).stdout
        )
        for path in (str(OLD_DUCKDB), "")
    )
    assert old == new
    assert [row[:2] for row in new] == [[10.2, pytest.approx(676.58, abs=0.01)], [10.2, ANY]]
    assert new[0][4:6] == ["2026-02-14 11:59:23", pytest.approx(61085 + 49299 / 86400, abs=1e-11)]


# ------------------------------------------------------------------------------------------- files
@pytest.mark.parametrize("name", NAMES)
def test_a_macro_file_makes_its_macro_and_says_what_it_is(name: str) -> None:
    """Each file makes the macro of its name and comments on it, with source and accuracy."""
    text = (MACROS / f"{name}.sql").read_text(encoding="utf-8")
    head = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    assert f"CREATE OR REPLACE MACRO {name}(" in text
    assert "\n-- Source" in head
    assert "ccuracy" in head
    assert "\nCOMMENT ON MACRO " in text
