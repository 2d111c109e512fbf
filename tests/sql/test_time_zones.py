"""Times mean the same wherever the machine stands: the same questions, asked in three time zones.

`make test-zones` runs all of tests/sql in each of them.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.lake.layout import Lake
from tests.sql.lakes import NOON, Writer, alert
from tests.sql.test_macros import OLD_DUCKDB

ZONES = ("UTC", "Asia/Tokyo", "America/St_Johns")
"""The last has daylight saving time, and is half an hour off."""

RECENT = """
SELECT count(*) FROM lasair_one WHERE kafka_timestamp > now() - INTERVAL 2 HOUR
SELECT count(*) FROM alerts WHERE kafka_timestamp BETWEEN now() - INTERVAL 2 HOUR AND now()
SELECT count(*) FROM latest WHERE kafka_timestamp > now() - INTERVAL 2 HOUR
SELECT count(*) FROM new_objects(now() - INTERVAL 2 HOUR)
SELECT count(*) FROM new_objects(now()::TIMESTAMP - INTERVAL 2 HOUR)
SELECT count(*) FROM etl.runs WHERE started_at < now()
SELECT count(*) FROM alerts WHERE night >= (now() - INTERVAL 14 HOUR)::DATE
""".strip().splitlines()

FIXED = """
SELECT count(*) FROM new_objects('2026-02-14 12:00')
SELECT count(*) FROM new_objects('2026-02-14 12:00:00.001'::TIMESTAMPTZ)
SELECT count(*) FROM new_objects('2026-02-14 21:00:00.001+09'::TIMESTAMPTZ)
SELECT count(*) FROM new_objects('-infinity'::TIMESTAMPTZ)
SELECT count(*) FROM new_objects('infinity'::TIMESTAMPTZ)
SELECT mjd_to_utc(utc_to_mjd('2026-02-14 12:00:00'::TIMESTAMPTZ))::VARCHAR
SELECT utc_to_mjd('2026-03-08 02:30:00'::TIMESTAMP)
SELECT epoch_us(UTC) FROM lasair_one LIMIT 1
""".strip().splitlines()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake with alerts of long ago, and of the last hour."""
    writer = Writer(tmp_path_factory.mktemp("zones") / "lake")
    writer.run([alert(n) for n in range(5)])
    ago = (datetime.now(UTC) - NOON).total_seconds() / 3600 - 0.5
    writer.run([alert(n) for n in range(5, 12)], hours=ago)
    return writer.close()


OPENED = """
import json, sys
from datetime import datetime
from pathlib import Path
import etl
from etl.catalog.database import Catalog
from etl.lake.layout import Lake
from etl.read.worked_queries import analyses
from etl.report.page import values
from datetime import timedelta
from etl.read.published import Published

def cells(selection):
    return [list(map(str, row.values())) for row in selection.arrow().to_pylist()]

found = {}
with etl.open(sys.argv[1]) as lake:
    for sql in json.loads(sys.argv[2]):
        found[sql] = cells(lake.sql(sql))
    for name, worked in analyses().items():
        found[name] = cells(lake.sql(worked.sql))
    found["alerts"] = cells(lake.sql("FROM alerts ORDER BY ALL"))
    found["runs"] = cells(lake.sql("FROM etl.runs ORDER BY ALL"))
    found["snapshot"] = str(lake.snapshot_at)
    connection = lake._published._connection
    found["cursor"] = connection.cursor().execute(
        "SELECT current_setting('TimeZone')").fetchall()
with Published(Lake(Path(sys.argv[1]))) as published:
    page = values(published, datetime(2026, 12, 1), timedelta(hours=12))
    found["report"] = str({name: page[name] for name in ("nights", "totals", "runs", "grid")})
catalog = Catalog.open(Lake(Path(sys.argv[1])))
found["catalog"] = catalog._connection.execute("SELECT current_setting('TimeZone')").fetchall()
catalog.close()
print(json.dumps(found))
"""


def answers(program: str, zone: str, *arguments: str, path: str = "") -> Any:
    """Run a program in a time zone and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"TZ": zone, "PYTHONPATH": path},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_open_lake_answers_the_same_in_every_zone(stored: Lake) -> None:
    """now(), macros, worked queries, the report and the catalog's own connection work in UTC."""
    asked = json.dumps(RECENT + FIXED)
    in_utc, *others = (answers(OPENED, zone, str(stored.root), asked) for zone in ZONES)
    recent = [in_utc[sql] for sql in RECENT]
    assert recent == [[["7"]]] * 5 + [[["2"]], [["7"]]]
    assert [in_utc[sql] for sql in FIXED[:5]] == [[["12"]], [["11"]], [["11"]], [["12"]], [["0"]]]
    assert in_utc["cursor"] == in_utc["catalog"] == [["UTC"]]
    for zone, other in zip(ZONES[1:], others, strict=True):
        assert other == in_utc, zone


BARE = """
import json, sys, duckdb
found = []
with duckdb.connect(sys.argv[1], read_only=True) as shell:
    for asked in map(json.loads, sys.argv[2:]):
        found.append([str(shell.execute(sql).fetchall()[0][0]) for sql in asked])
        shell.execute("SET TimeZone = 'UTC'")
print(json.dumps(found))
"""


@pytest.mark.parametrize("path", ["", str(OLD_DUCKDB)], ids=["2.0", "1.5.6"])
def test_macros_take_instants_as_they_are_in_a_bare_shell(stored: Lake, path: str) -> None:
    """What else compares the lake's times with now() needs the one SET that README names."""
    if path and not OLD_DUCKDB.is_dir():
        pytest.skip(f"no {OLD_DUCKDB}: make test puts DuckDB 1.5.6 there")
    assert "`SET TimeZone = 'UTC'`" in Path("README.md").read_text(encoding="utf-8")
    instants = [RECENT[3], FIXED[0], *FIXED[2:5]]
    for zone in ZONES[1:]:
        arguments = (str(stored.public), json.dumps(instants), json.dumps(RECENT))
        at_once, in_utc = answers(BARE, zone, *arguments, path=path)
        assert at_once == ["7", "12", "11", "12", "0"], zone
        assert in_utc == ["7"] * 5 + ["2", "7"], zone
