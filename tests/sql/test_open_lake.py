import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.time import Time
from astropy.units import Unit

import etl
from etl.errors import DataAtRisk, TryLater, WrongSettings, WrongUsage
from etl.lake.layout import Lake
from etl.read.open_lake import OpenLake
from etl.read.published import Published
from tests.flow.drains import clean_environment, loaded_by
from tests.sql.lakes import Writer, alert, altered, build, copied, moved

ID = 313637935709683761
"""Odd and above 2^53: as a float it would be another one."""


def nested(number: int) -> bytes:
    """Make an alert with ids in every place; every other one lacks its own."""
    own, missing = ID + number, number % 2
    lists = {
        "diaSourcesList": [
            {"diaSourceId": own, "ssObjectId": None},
            {"diaSourceId": None, "ssObjectId": own},
        ],
        "visits": [None, own],
    }
    fields: dict[str, object] = {
        "diaObjectId": own,
        "candid": None if missing else own,
        "alert": lists,
    }
    fields |= {"ra": None if missing else 1.5, "name": "odd" if missing else ""}
    return json.dumps(fields | {"UTC": "2026-02-14 13:41:02"}).encode()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake whose ids are large, nested, and missing here and there."""
    writer = Writer(tmp_path_factory.mktemp("opened") / "lake")
    writer.run([nested(n) for n in range(4)])
    writer.run([alert(n) for n in range(3)], topic="lasair_two")
    return writer.close()


EXPECTED = [ID, None, ID + 2, None]
QUERY = "SELECT * FROM lasair_one ORDER BY diaObjectId"


def test_arrow_keeps_every_id(stored: Lake) -> None:
    """Arrow has 64-bit integers and nulls where the lake has them, at every depth."""
    with etl.open(stored.root) as lake:
        table = lake.sql(QUERY).arrow()
    assert table.schema.field("candid").type == pa.int64()
    assert table["candid"].to_pylist() == EXPECTED
    assert table["alert"][0].as_py() == {
        "diaSourcesList": [
            {"diaSourceId": ID, "ssObjectId": None},
            {"diaSourceId": None, "ssObjectId": ID},
        ],
        "visits": [None, ID],
    }


def test_pandas_keeps_every_id(stored: Lake) -> None:
    """Pandas has integers, not floats, also beside missing ones, in lists and in structs."""
    with etl.open(stored.root) as lake:
        frame = lake.sql(QUERY).df()
    assert frame["candid"].dtype == pd.ArrowDtype(pa.int64())
    assert [None if pd.isna(v) else int(v) for v in frame["candid"]] == EXPECTED
    first = frame["alert"].iloc[0]
    assert first["visits"] == [None, ID]
    assert [each["diaSourceId"] for each in first["diaSourcesList"]] == [ID, None]
    assert frame["ra"].mean() == 1.5
    assert frame["ra"].dtype == np.float64  # a plot does not take what Arrow has for missing


def test_polars_keeps_every_id(stored: Lake) -> None:
    """Polars has integers and nulls where the lake has them, at every depth."""
    with etl.open(stored.root) as lake:
        frame = lake.sql(QUERY).polars()
    assert frame["candid"].dtype == pl.Int64
    assert frame["candid"].to_list() == EXPECTED
    assert frame["alert"][0]["visits"] == [None, ID]
    assert frame["alert"][0]["diaSourcesList"][1]["ssObjectId"] == ID


def test_astropy_keeps_every_id(stored: Lake) -> None:
    """Astropy has masked integers; nested lists keep Python's."""
    with etl.open(stored.root) as lake:
        table = lake.sql(QUERY).astropy()
    assert table["candid"].dtype == np.int64
    assert list(table["candid"].filled(-1)) == [ID, -1, ID + 2, -1]
    assert table["diaObjectId"].dtype == np.int64
    assert list(table["diaObjectId"]) == [ID + n for n in range(4)]
    assert table["alert"][0]["visits"] == [None, ID]
    assert list(table["ra"].mask) == [False, True, False, True]


def test_astropy_has_times_texts_and_sums(stored: Lake) -> None:
    """TIMESTAMPs are UTC times to the microsecond, dates are text, sums of integers integers."""
    query = """SELECT '2026-02-14 13:41:02.000007'::TIMESTAMP AS sent, '2026-02-14'::DATE AS night,
        7::HUGEINT AS n, 170141183460469231731687303715884105727::HUGEINT AS large,
        'a' || chr(0) AS odd, NULL::VARCHAR AS missing, [1, NULL] AS listed, NULL::BOOLEAN AS b,
        '2026-02-14 13:41:02.000000007'::TIMESTAMP_NS AS fine,
        [[1, 2], [3, 4]] AS square, 2.50::DECIMAL(4, 2) AS exact
        UNION ALL BY NAME SELECT NULL::TIMESTAMP AS sent ORDER BY night"""
    with etl.open(stored.root) as lake:
        table = lake.sql(query).astropy()
    assert isinstance(table["sent"], Time)
    assert table["sent"].scale == "utc"
    assert abs(table["sent"][0] - Time("2026-02-14T13:41:02.000007")).sec < 1e-9
    assert list(table["sent"].mask) == [False, True]
    assert abs((table["fine"][0] - Time("2026-02-14T13:41:02")).sec - 7e-9) < 1e-10
    assert table["night"][0] == "2026-02-14"
    assert (table["n"].dtype, table["n"][0]) == (np.int64, 7)
    assert table["large"][0] == 2**127 - 1
    assert table["odd"][0] == "a\0"
    assert table["missing"].mask.all()
    assert table["listed"][0] == [1, None]
    assert table["square"][0] == [[1, 2], [3, 4]]
    assert table["b"].mask.all()
    assert str(table["exact"][0]) == "2.50"


def test_no_rows_are_no_trouble(stored: Lake) -> None:
    """A query without rows gives empty tables that have their columns."""
    with etl.open(stored.root) as lake:
        none = lake.sql("FROM lasair_one WHERE false")
        columns = none.arrow().column_names
        assert none.df().columns.tolist() == columns
        assert none.polars().columns == columns
        assert none.astropy().colnames == columns
        assert columns[0] in repr(none)


def test_sql_takes_parameters_and_refuses_mistakes(stored: Lake) -> None:
    """Values go in as parameters; a mistake is named where it is typed."""
    with etl.open(stored.root) as lake:
        found = lake.sql("SELECT name FROM lasair_one WHERE diaObjectId = $id", id=ID + 1)
        assert found.arrow()["name"].to_pylist() == ["odd"]
        with pytest.raises(WrongUsage, match="nope"):
            lake.sql("SELECT nope FROM alerts")
        with pytest.raises(WrongUsage, match="read-only"):
            lake.sql("DROP VIEW alerts")


def test_an_id_out_of_a_table_is_a_parameter(stored: Lake) -> None:
    """Numbers of numpy's, which columns of pandas and astropy give, go in as exact as Python's."""
    query = "SELECT name FROM lasair_one WHERE diaObjectId = $id"
    with etl.open(stored.root) as lake:
        ids = lake.sql("SELECT diaObjectId FROM lasair_one WHERE name = 'odd'")
        for found in (
            ids.astropy()["diaObjectId"][0],
            ids.df()["diaObjectId"][0],
            np.array(ID + 1),
        ):
            assert lake.sql(query, id=found).arrow()["name"].to_pylist() == ["odd"]


def test_what_does_more_than_select_runs_once(stored: Lake) -> None:
    """A temporary table is made and filled once, however often the answer is looked at."""
    with etl.open(stored.root) as lake:
        lake.sql("CREATE TEMP TABLE mine (id BIGINT)")
        added = lake.sql("INSERT INTO mine VALUES ($id)", id=ID)
        assert [repr(added) for _ in range(2)] == ["Count\n1"] * 2
        assert added.arrow().to_pylist() == [{"Count": 1}]
        assert lake.sql("FROM mine").arrow()["id"].to_pylist() == [ID]
        wide = lake.sql("PIVOT (FROM range(30) AS r(n)) ON n USING count(*)")
        assert wide.arrow().num_columns == 30
        many = lake.sql("PIVOT (SELECT n, n % 2 AS odd FROM range(30) AS r(n)) ON odd GROUP BY n")
        assert "first 10 rows" in repr(many)


def test_time_between_two_times_is_a_duration(stored: Lake) -> None:
    """What one TIMESTAMP is after another is a duration in each of them; months have no length."""
    query = """SELECT '2026-02-16 00:00:01.000007'::TIMESTAMP - '2026-02-14'::TIMESTAMP AS late
        UNION ALL SELECT NULL"""
    with etl.open(stored.root) as lake:
        found = lake.sql(query)
        exact = timedelta(days=2, seconds=1, microseconds=7)
        assert found.arrow()["late"].to_pylist() == [exact, None]
        assert found.df()["late"].tolist() == [exact, pd.NA]
        assert found.polars()["late"].to_list() == [exact, None]
        column = found.astropy()["late"]
        assert abs(float(column[0].sec) - exact.total_seconds()) < 1e-9
        assert list(column.mask) == [False, True]
        assert lake.sql("SELECT INTERVAL 1 MONTH AS m").arrow()["m"][0].as_py().months == 1


def test_alerts_of_a_topic_have_its_own_columns(stored: Lake) -> None:
    """alerts() is the union of all topics, alerts(topic) one with all that it has."""
    with etl.open(stored.root) as lake:
        assert lake.topics == ["lasair_one", "lasair_two"]
        assert lake.alerts().arrow().num_rows == 7
        assert lake.alerts("lasair_two").arrow().num_rows == 3
        assert "candid" not in lake.alerts("lasair_two").arrow().column_names
        with pytest.raises(WrongUsage, match="lasair_one, lasair_two"):
            lake.alerts('lasair_two" --')


@pytest.mark.parametrize("wrong", [float(ID), np.float64(1), None])
def test_an_id_that_became_a_float_is_refused(stored: Lake, wrong: object) -> None:
    """A light curve is not looked up by a number that may be another object's."""
    with etl.open(stored.root) as lake, pytest.raises(WrongUsage, match="no object id"):
        lake.light_curve(wrong)  # type: ignore[arg-type]


def curve(number: int, *fluxes: float) -> bytes:
    """Make an alert that carries a light curve: a detection a day in g, one forced one in r."""
    sources = [
        {
            "diaSourceId": ID + day,
            "midpointMjdTai": 61000.0 + day,
            "band": "g",
            "psfFlux": flux,
            "psfFluxErr": 10.0,
        }
        for day, flux in enumerate(fluxes)
    ]
    forced = [
        {
            "diaForcedSourceId": ID,
            "midpointMjdTai": 60999.5,
            "band": "r",
            "psfFlux": -5.0,
            "psfFluxErr": 10.0,
        }
    ]
    fields = {"diaObjectId": ID + number, "ra": 30.0 * number, "decl": -20.0}
    lists = {"diaSourcesList": sources, "diaForcedSourcesList": forced}
    return json.dumps(fields | {"UTC": "2026-02-14 13:41:02", "alert": lists}).encode()


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake with light curves, whose second alert repeats the history of the first."""
    writer = Writer(tmp_path_factory.mktemp("curves") / "lake")
    writer.run([curve(0, 1000.0), curve(1, 300.0)])
    writer.run([curve(0, 1000.0, 2000.0)], hours=24)
    return writer.close()


def test_a_light_curve_is_found_by_number_and_by_text(curves: Lake) -> None:
    """All measurements of an object come once each, by its id in any form that is exact."""
    with etl.open(curves.root) as lake:
        for object_id in (ID, str(ID), np.int64(ID)):
            found = lake.light_curve(object_id).arrow()
            assert found["midpointMjdTai"].to_pylist() == [60999.5, 61000, 61001]
            assert found["psfFlux"].to_pylist() == [-5, 1000, 2000]
            assert found["forced"].to_pylist() == [True, False, False]
        assert lake.light_curve("' OR true --").arrow().num_rows == 0


def test_latest_has_each_object_once(curves: Lake) -> None:
    """latest() is the newest alert of each object."""
    with etl.open(curves.root) as lake:
        found = lake.latest().arrow()
    assert sorted(found["diaObjectId"].to_pylist()) == [ID, ID + 1]
    newest = found.filter(pc.equal(found["diaObjectId"], ID))
    assert len(newest["alert"][0].as_py()["diaSourcesList"]) == 2


def test_astropy_columns_have_their_units(curves: Lake) -> None:
    """Columns whose name the dictionary knows have its unit; text of the same name has none."""
    with etl.open(curves.root) as lake:
        table = lake.light_curve(ID).astropy()
        units = {name: str(table[name].unit) for name in table.colnames if table[name].unit}
        assert units == {
            "midpointMjdTai": "d",
            "psfFlux": "nJy",
            "psfFluxErr": "nJy",
            "ab_mag": "mag",
            "ab_mag_err": "mag",
        }
        assert table["psfFlux"].quantity[1].to_value("uJy") == pytest.approx(1.0)
        query = "SELECT 'text' AS ra, 1.5::DOUBLE AS decl, 2 AS psfFlux, 1.5::DOUBLE AS y"
        other = lake.sql(query).astropy()
        assert [other[name].unit for name in other.colnames] == [None, "deg", None, None]
    for field, unit in _units(curves).items():
        assert Unit(unit).to_string() is not None, field


def _units(stored: Lake) -> dict[str, str]:
    with Published(stored) as published:
        return published.units()


def test_a_lake_of_an_older_version_has_no_units(lake: Path) -> None:
    """Without the dictionary a table comes without units, not with an error."""
    build(lake)
    with altered(Lake(lake.resolve())) as connection:
        connection.execute("DROP TABLE etl.dictionary")
    with etl.open(lake) as opened:
        assert opened.sql("SELECT ra FROM lasair_one").astropy()["ra"].unit is None


def test_a_plot_shows_what_the_lake_has(curves: Lake) -> None:
    """A light curve and a map are drawn from the lake's rows."""
    with etl.open(curves.root) as lake:
        axes = lake.plot_light_curve(ID).axes[0]
        drawn = {c.get_label(): c.lines[0] for c in axes.containers}  # type: ignore[attr-defined]
        assert set(drawn) == {"_g detected", "_r forced"}
        assert drawn["_g detected"].get_xdata().tolist() == [61000, 61001]
        assert drawn["_g detected"].get_ydata().tolist() == [1000, 2000]
        assert axes.get_title() == str(ID)
        assert lake.plot_light_curve(ID, magnitudes=True).axes[0].yaxis_inverted()
        one = "FROM latest WHERE object_ra > 1; "
        for query, count in (("FROM latest", 2), (one, 1), ("FROM latest -- all", 2)):
            (points,) = lake.plot_sky(query).axes[0].collections
            assert len(points.get_offsets()) == count  # type: ignore[arg-type]
        with pytest.raises(WrongUsage, match="no measurement of it"):
            lake.plot_light_curve(1)
        with pytest.raises(WrongUsage, match="kafka_topic"):
            lake.plot_sky("SELECT 1 AS a")


def test_refresh_shows_the_newest(lake: Path) -> None:
    """An open lake keeps its snapshot, knows of a newer one, and shows it after refresh."""
    writer = Writer(lake)
    writer.run([alert(1)])
    writer.catalog.publish()
    count = "SELECT count(*) AS n FROM alerts"
    with etl.open(lake) as opened, etl.open(lake) as other:
        asked, first = opened.sql(count), opened.snapshot_at
        assert opened.is_newest
        writer.run([alert(2), alert(3)])
        writer.close()
        assert not opened.is_newest
        assert "lake.refresh()" in repr(opened)
        assert asked.arrow()["n"].to_pylist() == [1]
        assert opened.refresh() is opened
        assert opened.is_newest
        assert "lake.refresh()" not in repr(opened)
        assert asked.arrow()["n"].to_pylist() == [3]
        assert other.sql(count).arrow()["n"].to_pylist() == [1]
        assert first
        assert opened.snapshot_at
        assert opened.snapshot_at - first == timedelta(hours=1)


def test_a_refresh_that_fails_changes_nothing(lake: Path) -> None:
    """Where the newest can't be opened, the old snapshot stays and can still be asked."""
    stored = build(lake)
    with etl.open(lake) as opened:
        stored.public.rename(lake / "away")
        with pytest.raises(TryLater, match="nothing is published"):
            opened.refresh()
        assert opened.sql("SELECT count(*) AS n FROM alerts").arrow()["n"].to_pylist() == [24]
        assert not opened.is_newest


def test_the_age_is_that_of_the_last_drain(stored: Lake) -> None:
    """The snapshot is as old as the last moment at which a drain was seen at work."""
    with etl.open(stored.root) as lake:
        assert lake.snapshot_at == datetime(2026, 2, 15, 14, 0, 5, tzinfo=UTC)
        before = datetime.now(UTC) - lake.snapshot_at
        age = lake.age
        after = datetime.now(UTC) - lake.snapshot_at
        assert age
        assert before - timedelta(seconds=1) <= age <= after
        assert "2026-02-15 14:00:05 UTC" in repr(lake)


HOLD = """
import sys, etl
lake = etl.open(sys.argv[1])
asked = lake.sql("SELECT count(*) AS n FROM alerts")
for order in sys.stdin:
    if order.strip() == "refresh":
        lake.refresh()
    print(asked.arrow()["n"][0].as_py(), flush=True)
"""


def test_an_open_notebook_keeps_no_drain_waiting(lake: Path) -> None:
    """A process that leaves a lake open neither blocks the writer nor sees half of its work."""
    writer = Writer(lake)
    writer.run([alert(1)])
    writer.catalog.publish()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as notebook:
        assert notebook.stdin
        assert notebook.stdout

        def ask(order: str) -> str:
            assert notebook.stdin
            assert notebook.stdout
            notebook.stdin.write(f"{order}\n")
            notebook.stdin.flush()
            return notebook.stdout.readline().strip()

        assert ask("look") == "1"
        for number in range(2, 5):
            writer.run([alert(number)])
            writer.catalog.publish()
        assert ask("look") == "1"
        assert ask("refresh") == "4"
        notebook.stdin.close()
    assert notebook.returncode == 0
    writer.close()
    assert not writer.lake.public_wal.exists()


def test_a_lake_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing lake is named, and what makes one."""
    with pytest.raises(WrongSettings, match="lasair-etl drain makes one"):
        etl.open(tmp_path / "none")
    (tmp_path / "alerts.duckdb").touch()
    with pytest.raises(WrongSettings, match="named by its folder"):
        etl.open(tmp_path / "alerts.duckdb")


def test_a_lake_that_moved_is_said(lake: Path, tmp_path: Path) -> None:
    """A moved lake's views name the old place: that is said, and what mends it, no file error."""
    away = moved(build(lake), tmp_path / "away")
    with pytest.raises(WrongSettings, match=r"moved.*the next lasair-etl drain publishes it anew"):
        etl.open(away.root)
    with etl.open(copied(away, tmp_path / "again").root) as opened:
        assert opened.sql("SELECT count(*) AS n FROM alerts").arrow()["n"].to_pylist() == [24]


def test_a_lost_file_is_data_at_risk(lake: Path) -> None:
    """A Parquet file that is gone is told apart from a mistake in SQL."""
    stored = build(lake)
    with etl.open(lake) as opened:
        rows = opened.alerts()
        min((stored.root / "data").rglob("*.parquet")).unlink()
        with pytest.raises(DataAtRisk, match="verify"):
            rows.arrow()


HOSTILE = "<script>alert(1)</script>&\x1b[31m"


def test_what_an_alert_says_is_only_text(lake: Path) -> None:
    """Names and values of alerts can't be HTML in a notebook, nor orders to a terminal."""
    lake = lake.with_name("<script>alert(1)<")
    build(lake)
    with altered(Lake(lake.resolve())) as connection:
        connection.execute(
            "INSERT INTO etl.topics (topic, incarnation, first_seen, last_seen)"
            " VALUES (?, 1, now()::TIMESTAMP, now()::TIMESTAMP)",
            [HOSTILE],
        )
    with etl.open(lake) as opened:
        question = opened.sql(f"""SELECT '{HOSTILE}' AS "{HOSTILE}" """)
        for each in (opened, question):
            page = each._repr_html_()
            assert "<script" not in page
            assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
            assert "\x1b" not in page + repr(each)
    with pytest.raises(WrongSettings):
        etl.open(lake / "<b>")


@pytest.mark.timeout(30)
def test_a_preview_reads_and_shows_little(stored: Lake) -> None:
    """A preview has ten rows, says that there are more, and cuts what is long."""
    with etl.open(stored.root) as lake:
        many = lake.sql("SELECT i, repeat('x', 1000) AS long FROM range(1000000000000) AS r(i)")
        lines = repr(many).splitlines()
        assert len(lines) == 12
        assert max(map(len, lines)) < 100
        assert many._repr_html_().count("<tr>") == 11
        few = lake.sql("SELECT 1 AS a")
        assert repr(few).splitlines() == ["a", "1"]


def test_a_closed_lake_says_so(stored: Lake) -> None:
    """A lake that was closed answers with one of this program's own errors."""
    with etl.open(stored.root) as lake:
        pass
    for ask in (lambda: lake.sql("SELECT 1"), lambda: repr(lake), lambda: lake.topics):
        with pytest.raises(WrongUsage, match="closed"):
            ask()


PLAIN_INSTALL = """
import sys

ABSENT = ("numpy", "pandas", "polars", "astropy", "matplotlib")

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import etl
from etl.errors import WrongUsage

lake = etl.open(sys.argv[1])
rows = lake.sql("SELECT 1 AS a")
assert rows.arrow().num_rows == 1
for use in (rows.df, rows.polars, rows.astropy, lambda: lake.plot_sky("FROM lasair_two")):
    try:
        use()
    except WrongUsage as error:
        print(str(error).rpartition("pip install ")[2])
"""


def test_a_package_that_is_missing_is_named(stored: Lake) -> None:
    """Where only what is required is installed, an error says which package to install."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_INSTALL, str(stored.root)],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    assert done.stdout.split() == ["pandas", "polars", "astropy", "matplotlib"], done.stderr


def test_importing_etl_costs_nothing() -> None:
    """`import etl` loads neither DuckDB nor Arrow, and opening a lake no notebook package."""
    assert loaded_by("import etl", "duckdb", "pyarrow", "etl.read.open_lake") == []
    for_notebooks = ("pandas", "polars", "astropy", "matplotlib")
    assert loaded_by("from etl.read.open_lake import OpenLake", *for_notebooks) == []


def test_the_path_may_be_anything_that_names_one(
    stored: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lake is opened by a text or a Path, relative or with ~; its repr shows what was given."""
    monkeypatch.chdir(stored.root.parent)
    monkeypatch.setenv("HOME", str(stored.root.parent))
    for path in ("lake", Path("lake"), "~/lake"):
        with etl.open(path) as lake:
            assert isinstance(lake, OpenLake)
            assert f"lake {path}," in repr(lake)
            assert str(stored.root) not in repr(lake)
