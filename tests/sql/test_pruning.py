"""What a question does not need is not read: files by night, row groups by id and declination.

EXPLAIN shows what reaches the files. That it spares the reading is shown too, by spoiling what a
question must not touch: whoever reads it gets an error.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl.lake.layout import Lake
from tests.sql.lakes import Writer
from tests.unit.bare_lake import OLD_DUCKDB

ANSWERS_QUERIES = """
import json, sys
import duckdb

connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(f"ATTACH '{sys.argv[1]}' AS lake (READ_ONLY)")
connection.execute("USE lake")
answers = []
for question in sys.argv[2:]:
    try:
        answers.append(connection.execute(question).fetchall())
    except duckdb.Error as error:
        answers.append(str(error))
print(json.dumps(answers, default=str))
"""

FIRST = 313637935709683761
NIGHTS = 3
ALERTS = 3000
GROUP = 1000


@pytest.fixture(params=["this DuckDB", "DuckDB 1.5"])
def folder(request: pytest.FixtureRequest) -> str:
    """Return the place of one DuckDB after the other."""
    if request.param == "this DuckDB":
        return ""
    if not OLD_DUCKDB.is_dir():
        pytest.skip(f"{OLD_DUCKDB} is not here: `make test` puts it there")
    return str(OLD_DUCKDB)


def query_in_process(lake: Lake, folder: str, *questions: str) -> list[Any]:
    """Ask in a process of its own; an error is its text."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS_QUERIES, str(lake.public), *questions],
        env={"PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def sent(number: int) -> bytes:
    """Make an alert; ids and declinations rise with the number."""
    return json.dumps(
        {
            "diaObjectId": FIRST + number,
            "decl": -90 + 180 * number / (ALERTS * NIGHTS),
            "ra": 10,
            "UTC": "2026-02-14 13:41:02",
            "alert": {
                "diaSourcesList": [
                    {"midpointMjdTai": 61000.5, "band": "r", "psfFlux": number, "psfFluxErr": 1}
                ]
            },
        }
    ).encode()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake of three nights; of each file only the first row group can be read."""
    writer = Writer(tmp_path_factory.mktemp("pruning") / "lake")
    for night in range(NIGHTS):
        numbers = range(night * ALERTS, (night + 1) * ALERTS)
        writer.run([sent(number) for number in numbers], hours=24 * night)
    lake = writer.close()
    for path in (lake.root / "data").rglob("*.parquet"):
        table = pq.ParquetFile(path).read().sort_by("diaObjectId")
        pq.write_table(table, path, row_group_size=GROUP, compression="none")
        spoil(path)
    return lake


def spoil(path: Path) -> None:
    """Overwrite the pages of every row group but the first; the footer stays."""
    about = pq.ParquetFile(path).metadata
    with path.open("r+b") as file:
        for number in range(1, about.num_row_groups):
            for column in range(about.num_columns):
                chunk = about.row_group(number).column(column)
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                file.seek(start)
                file.write(b"\xff" * chunk.total_compressed_size)


def test_what_is_spoilt_cannot_be_read(stored: Lake, folder: str) -> None:
    """Whoever reads more than the first row groups fails, so that the tests below mean it."""
    answers = query_in_process(
        stored,
        folder,
        "SELECT sum(ra) FROM alerts",
        "SELECT sum(object_ra) FROM etl.sightings WHERE object_ra > 5",
        "SELECT count(*) FROM detections WHERE psfFlux = 5",
        f"SELECT sum(object_ra) FROM etl.sightings WHERE diaObjectId = {FIRST + GROUP}",
        f"FROM light_curve({FIRST + GROUP})",
    )
    assert [type(answer) for answer in answers] == [str] * 5


@pytest.mark.parametrize("night", range(NIGHTS))
def test_an_object_is_found_without_reading_the_rest(stored: Lake, folder: str, night: int) -> None:
    """A look-up by id reads one row group of one file, in every view and in light_curve."""
    number = night * ALERTS + 5
    ident = FIRST + number
    answers = query_in_process(
        stored,
        folder,
        f"SELECT object_ra FROM etl.sightings WHERE diaObjectId = {ident}",
        f"SELECT ra FROM alerts WHERE diaObjectId = {ident}",
        f"SELECT ra FROM latest WHERE diaObjectId = {ident}",
        f"SELECT alerts FROM objects WHERE diaObjectId = {ident}",
        f"SELECT psfFlux FROM detections WHERE diaObjectId = {ident}",
        f"SELECT psfFlux FROM light_curve({ident})",
        f"SELECT psfFlux FROM light_curve('{ident}')",
    )
    assert answers == [[[value]] for value in (10, 10, 10, 1, number, number, number)]


def test_a_cone_reads_what_is_near(stored: Lake, folder: str) -> None:
    """A cone search reads only row groups whose declinations it meets."""
    number = ALERTS + 5
    decl = -90 + 180 * number / (ALERTS * NIGHTS)
    near, wide = query_in_process(
        stored,
        folder,
        f"SELECT object_id FROM cone(10, {decl!r}, 1)",
        f"SELECT object_id FROM cone(10, {decl!r}, {180 / NIGHTS * 3600})",
    )
    assert near == [[str(FIRST + number)]]
    assert isinstance(wide, str)


@pytest.mark.parametrize("view", ["lasair_one", "alerts", "etl.sightings"])
def test_a_night_reads_its_own_files(stored: Lake, folder: str, view: str) -> None:
    """A filter on the night leaves the other nights' files out, as EXPLAIN says."""
    ((_, plan),), ((_, whole),), counted = query_in_process(
        stored,
        folder,
        f"EXPLAIN SELECT sum(kafka_offset) FROM {view} WHERE night = '2026-02-15'",
        f"EXPLAIN SELECT sum(kafka_offset) FROM {view}",
        f"SELECT count(*) FROM {view} WHERE night > '2026-02-16'",
    )
    assert f"Scanning Files: 1/{NIGHTS}" in " ".join(plan.replace("│", " ").split())
    assert f"Scanning Files: 1/{NIGHTS}" not in " ".join(whole.replace("│", " ").split())
    assert counted == [[0]]


def reads_of(plan: Any) -> Iterator[dict[str, Any]]:
    """Go through what a plan says of each reading of files."""
    for node in plan:
        if "PARQUET" in node["name"]:
            yield node["extra_info"]
        yield from reads_of(node["children"])


def test_explain_shows_the_id_at_the_files(stored: Lake, folder: str) -> None:
    """The filter of a look-up stands at the reading of the files, in every view."""
    asked = [
        f"SELECT * FROM {view} WHERE diaObjectId = {FIRST + 5}"
        for view in ("etl.sightings", "latest", "objects", "detections")
    ]
    questions = [f"EXPLAIN (FORMAT json) {each}" for each in asked]
    questions.append(f"EXPLAIN (FORMAT json) FROM light_curve('{FIRST + 5}')")
    for ((_, plan),) in query_in_process(stored, folder, *questions):
        reads = list(reads_of(json.loads(plan)))
        assert reads
        for read in reads:
            assert f"diaObjectId={FIRST + 5}" in str(read["Filters"]).replace(" ", "")
