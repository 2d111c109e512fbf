"""The views and table macros on objects, alerts that come again, and their light curves."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from etl.config.topics import check_topic
from etl.errors import WrongSettings
from etl.read.published import Published
from etl.statements import sql_names
from tests.sql.lakes import NOON, Writer
from tests.unit.bare_lake import OLD_DUCKDB

ID = 313637935709683761
START = NOON.replace(tzinfo=None)


def alert(ident: int | str = ID, utc: bool = True, **fields: Any) -> bytes:
    """Make an alert of one object: Rubin's where its id is a number, else ZTF's."""
    key = "diaObjectId" if isinstance(ident, int) else "objectId"
    sent = {"UTC": "2026-02-14 13:41:02"} if utc else {}
    return json.dumps({key: ident, **fields, **sent}).encode()


def curve(*points: tuple[Any, ...], forced: tuple[tuple[Any, ...], ...] = (), **more: Any) -> bytes:
    """Make an alert with a light curve: each point is time, band, flux and perhaps an id."""
    lists = {}
    for listed, name, given in (
        ("diaSourcesList", "diaSourceId", points),
        ("diaForcedSourcesList", "diaForcedSourceId", forced),
    ):
        lists[listed] = [
            {"midpointMjdTai": mjd, "band": band, "psfFlux": flux, "psfFluxErr": 1.5}
            | ({name: ident[0]} if ident else {})
            for mjd, band, flux, *ident in given
        ]
    return alert(alert=lists, **more)


def rows_of(writer: Writer, sql: str) -> list[tuple[Any, ...]]:
    """Publish, and ask as a user does."""
    writer.catalog.publish()
    with Published(writer.lake) as published:
        return list(published.ask(sql).rows())


# -------------------------------------------------------------------------------- latest, objects
def test_latest_is_the_newest_alert_of_each_topic_and_object(lake: Path) -> None:
    """One row per topic and object, ties by incarnation, partition and offset; no examples."""
    writer = Writer(lake)
    writer.run([alert(n=1), alert("ZTF1", n=2), alert(n=3)])
    writer.run([alert(n=4)], hours=-5)  # older, though it is stored later
    writer.run([alert(n=5), alert(n=6, utc=False)], topic="lasair_two", hours=1)
    writer.run([alert(n=7)], incarnation=2, hours=0.000_000_6)  # the time of n = 3: 2 ms after noon
    rows = rows_of(writer, "SELECT kafka_topic, object_id, n FROM latest ORDER BY ALL")
    assert rows == [
        ("lasair_one", str(ID), 7),
        ("lasair_one", "ZTF1", 2),
        ("lasair_two", str(ID), 5),
    ]
    assert rows_of(writer, "SELECT kafka_topic, n FROM examples") == [("lasair_two", 6)]
    writer.close()


def test_objects_say_when_and_how_often(lake: Path) -> None:
    """Per topic and object: first and last time, alerts, nights, and the newest place."""
    writer = Writer(lake)
    writer.run([alert(ra=1.5, decl=2.5), alert("ZTF1", ramean=7, decmean=-8)])
    writer.run([alert(ra=1.25, decl=2.25), alert()], hours=24)
    writer.run([alert(ra=9, decl=9)], hours=-30)
    rows = rows_of(writer, "FROM objects ORDER BY object_id")
    assert rows == [
        (
            "lasair_one", str(ID), ID, None, START - timedelta(hours=30),
            START + timedelta(hours=24, milliseconds=1), datetime(2026, 2, 12).date(),
            datetime(2026, 2, 15).date(), 4, 3, None, None,
        ),
        (
            "lasair_one", "ZTF1", None, "ZTF1", START + timedelta(milliseconds=1),
            START + timedelta(milliseconds=1), START.date(), START.date(), 1, 1, 7.0, -8.0,
        ),
    ]  # fmt: skip
    new = rows_of(writer, "SELECT object_id FROM new_objects('2026-02-14 12:00')")
    assert new == [("ZTF1",)]
    assert len(rows_of(writer, "FROM new_objects(DATE '2026-02-01')")) == 2
    writer.close()


def test_latest_of_has_the_topics_own_columns(lake: Path) -> None:
    """A single topic is given with all that it has, in its own order, also what `alerts` lacks."""
    writer = Writer(lake)
    topic = "lasair_2SN-like.candidates"
    writer.run([alert(x=1), alert(x=2), alert("ZTF1", x=3)], topic=topic)
    writer.run([alert(x="text")], topic="lasair_two")
    writer.catalog.publish()
    with Published(writer.lake) as published:
        own = published.ask(f'FROM "{topic}" LIMIT 0').schema.names
        answer = published.ask(f"FROM latest_of('{topic}') ORDER BY x")
        assert answer.schema.names == own
        assert [row[own.index("x")] for row in answer.rows()] == [2, 3]
    writer.close()


# ------------------------------------------------------------------------------- not_again_within
def test_not_again_within(lake: Path) -> None:
    """An alert passes if the last one that passed is so many days old, per topic and object."""
    writer = Writer(lake)
    hours = (0, 20, 30, 47.9, 48.1, 54, 78)
    for hour in hours:
        writer.run([alert(hour=hour)], hours=hour)
    writer.run([alert("ZTF1", hour=31)], hours=31)
    writer.run([alert(hour=32)], hours=32, topic="lasair_two")
    asked = "SELECT kafka_topic, object_id, hour FROM not_again_within({})"

    def passed(days: float) -> list[float]:
        rows = rows_of(writer, asked.format(days))
        assert [row for row in rows if row[1] == "ZTF1"] == [("lasair_one", "ZTF1", 31)]
        assert [row for row in rows if row[0] == "lasair_two"] == [("lasair_two", str(ID), 32)]
        return [hour for topic, ident, hour in rows if topic == "lasair_one" and ident == str(ID)]

    assert passed(0) == list(hours)
    assert passed(1) == [0, 30, 54, 78]
    assert passed(1.25) == [0, 30, 78]
    assert passed(2) == [0, 48.1]
    assert passed(100) == [0]
    writer.close()


# ------------------------------------------------------------------------------------ light curves
def test_overlapping_histories_are_one_light_curve(lake: Path) -> None:
    """What successive alerts repeat is one row, in the newest alert's version."""
    writer = Writer(lake)
    writer.run([curve((1.5, "r", 10, 71), (2.5, "g", 20, 72), forced=((1.5, "r", 11, 81),))])
    writer.run(
        [curve((1.5, "r", 99, 71), (3.5, "r", 30, 73), forced=((1.5, "r", 12, 81),))], hours=9
    )
    writer.run([curve((2.5, "g", 5, 72))], hours=-9)
    columns = "midpointMjdTai, band, psfFlux, diaSourceId"
    assert rows_of(writer, f"SELECT {columns} FROM detections ORDER BY ALL") == [
        (1.5, "r", 99.0, 71), (2.5, "g", 20.0, 72), (3.5, "r", 30.0, 73),
    ]  # fmt: skip
    assert rows_of(writer, "SELECT psfFlux, diaForcedSourceId FROM forced") == [(12.0, 81)]
    writer.close()


def test_measurements_without_ids_are_known_by_time_and_band(lake: Path) -> None:
    """Lite lists have no ids: time and band tell, and what one alert has twice are two."""
    writer = Writer(lake)
    writer.run([curve((1.5, "r", 10), (1.5, "g", 20), (1.5, "r", 30))])
    writer.run([curve((1.5, "r", 11), (1.5, "r", 31), (2.5, "r", 40))], hours=1)
    rows = rows_of(writer, "SELECT midpointMjdTai, band, psfFlux FROM detections ORDER BY ALL")
    assert rows == [(1.5, "g", 20.0), (1.5, "r", 11.0), (1.5, "r", 31.0), (2.5, "r", 40.0)]
    writer.close()


@pytest.mark.parametrize("lite_first", [True, False])
def test_a_filter_that_changes_between_lite_and_full(lake: Path, lite_first: bool) -> None:
    """A measurement that came with and without its id is one, whichever came first."""
    lite, full = curve((1.5, "r", 10)), curve((1.5, "r", 11, 71))
    writer = Writer(lake)
    writer.run([lite if lite_first else full])
    writer.run([full if lite_first else lite], incarnation=2, hours=1)
    rows = rows_of(writer, "SELECT psfFlux FROM detections")
    assert rows == [(11.0,) if lite_first else (10.0,)]
    writer.close()


def test_light_curve_joins_topics(lake: Path) -> None:
    """A measurement that two topics carry is one row, the newest one's; ids as number or text."""
    writer = Writer(lake)
    writer.run([curve((1.5, "r", 100), (2.5, "r", -5), forced=((1.5, "r", 90),))])
    writer.run([curve((1.5, "r", 1000, 71))], topic="lasair_two", hours=1)
    writer.run([curve((7.5, "r", 1), ident="ZTF1")], topic="lasair_ztf")
    rows = rows_of(writer, f"FROM light_curve({ID})")
    assert rows == [
        (str(ID), "lasair_two", False, 1.5, "r", 1000.0, 1.5, pytest.approx(23.9),
         pytest.approx(0.001629, abs=1e-6)),
        (str(ID), "lasair_one", True, 1.5, "r", 90.0, 1.5, pytest.approx(26.514394),
         pytest.approx(0.018096, abs=1e-6)),
        (str(ID), "lasair_one", False, 2.5, "r", -5.0, 1.5, None, None),
    ]  # fmt: skip
    assert rows_of(writer, f"FROM light_curve('{ID}')") == rows
    assert [row[3] for row in rows_of(writer, "FROM light_curve('ZTF1')")] == [7.5]
    for other in (ID + 1, f"{ID}::DOUBLE", "NULL", "''", "'x'"):
        assert rows_of(writer, f"FROM light_curve({other})") == []
    writer.close()


def test_real_light_curves(lake: Path, real_alerts: dict[str, list[bytes]]) -> None:
    """Lite and full alerts of the same real objects give the same light curve, nothing lost."""
    writer = Writer(lake)
    for name in ("lsst_lite", "lsst_full"):
        writer.run(real_alerts[name], topic=f"lasair_{name}")
        writer.run(real_alerts[name], topic=f"lasair_{name}", incarnation=2, hours=1)
    for value in real_alerts["lsst_lite"]:
        parsed = json.loads(value)
        expected = sorted(
            (
                each["midpointMjdTai"],
                each["band"],
                each["psfFlux"],
                listed == "diaForcedSourcesList",
            )
            for listed, points in parsed["alert"].items()
            for each in points
        )
        found = rows_of(
            writer,
            "SELECT midpointMjdTai, band, psfFlux, forced "
            f"FROM light_curve({parsed['diaObjectId']}) ORDER BY ALL",
        )
        assert found == expected
    writer.close()


# ---------------------------------------------------------------------------------- names, macros
ON_THEIR_OWN = """
import sys
import duckdb

lake, statements = sys.argv[1], sys.argv[2:]
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(f"ATTACH '{lake}' AS lake (READ_ONLY)")
connection.execute("USE lake")
print(duckdb.__version__)
for statement in statements:
    print(connection.execute(statement).fetchall())
"""

USES = (
    "FROM latest", "FROM objects", "FROM detections", "FROM forced", "FROM examples",
    "FROM etl.sightings", "FROM new_objects('2020-01-01')", f"FROM light_curve({ID})",
    "FROM latest_of('lasair_one')", "FROM not_again_within(1)", "FROM cone(10, 20, 5)",
)  # fmt: skip


@pytest.mark.parametrize("older", [False, True])
def test_fields_called_like_parameters(lake: Path, older: bool) -> None:
    """Alerts may have a field for each parameter of a macro: that is made, and not confused."""
    if older and not OLD_DUCKDB.is_dir():
        pytest.skip(f"{OLD_DUCKDB} is not here: `make test` puts it there")
    writer = Writer(lake)
    names = ("object", "since", "topic", "days", "dec", "radius_arcsec", "flux", "order_", "place",
             "age", "found", "passed", "sighted", "separation_arcsec", "first_seen")  # fmt: skip
    fields: dict[str, Any] = dict.fromkeys(names, "x")
    writer.run([curve((1.5, "r", 10), ra=10, decl=20, **fields)])
    writer.run([curve((1.5, "r", 10), ra=10, decl=20, **fields)], hours=1)
    lake_file = str(writer.close().public)
    counts = [f"SELECT count(*) FROM ({use})" for use in USES]
    done = subprocess.run(
        [sys.executable, "-c", ON_THEIR_OWN, lake_file, *counts],
        env={"PYTHONPATH": str(OLD_DUCKDB)} if older else {},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, *answers = done.stdout.splitlines()
    assert version.startswith("1.5") == older
    expected = dict.fromkeys(USES, 1) | {
        "FROM forced": 0,
        "FROM examples": 0,
        "FROM etl.sightings": 2,
    }
    expected |= {"FROM new_objects('2020-01-01')": 1, "FROM cone(10, 20, 5)": 2}
    assert dict(zip(USES, answers, strict=True)) == {
        use: f"[({n},)]" for use, n in expected.items()
    }


def test_a_new_macro_leaves_the_views_whole(lake: Path) -> None:
    """Where an upgrade brings other macros, the views of an existing lake stay what they were."""
    writer = Writer(lake)
    writer.run([curve((1.5, "r", 10), mag=7)])
    writer.catalog.define("UPDATE etl.views SET digest = 'old' WHERE name = 'sql/macros'")
    writer.run([], topic="lasair_two")
    assert rows_of(writer, "SELECT l.mag, a.mag FROM latest AS l, alerts AS a") == [(7, 7)]
    assert len(rows_of(writer, f"FROM light_curve({ID})")) == 1
    writer.close()


@pytest.mark.parametrize("view", ["latest", "objects", "detections", "examples", "etl.sightings"])
def test_views_answer_without_use(lake: Path, view: str) -> None:
    """An attached lake's views answer under its name, whatever the session's own database is."""
    writer = Writer(lake)
    writer.run([curve((1.5, "r", 10)), alert(utc=False)])
    lake_file = writer.close().public
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{lake_file}' AS lake (READ_ONLY)")
        assert connection.execute(f"SELECT count(*) FROM lake.{view}").fetchall() == [(1,)]


def test_no_topic_takes_a_name_of_ours(lake: Path) -> None:
    """Every view and macro in the catalog has a name that no topic may have."""
    writer = Writer(lake)
    writer.run([alert()])
    lake_file = writer.close().public
    with duckdb.connect(str(lake_file), read_only=True) as connection:
        names = connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal "
            "UNION SELECT function_name FROM duckdb_functions() WHERE NOT internal"
        ).fetchall()
    ours = {name for (name,) in names} - {"lasair_one"}
    assert ours >= {name.partition("/")[2] for name in sql_names("views") + sql_names("macros")}
    for name in ours:
        with pytest.raises(WrongSettings, match="reserved name"):
            check_topic(name.upper())
