import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.lake.layout import Lake
from tests.cli.conftest import Run
from tests.flow.drains import clean_environment

ID = 313637935709683761


def test_plain_text_is_aligned_and_whole(run: Run, small_lake: Lake) -> None:
    """Where no terminal shows it, a table is plain text with every value whole."""
    result = run(
        "sql", "--lake", small_lake.root,
        "SELECT diaObjectId, mag, repeat('x', 300) AS long FROM lasair_one ORDER BY ALL LIMIT 2",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "       diaObjectId   mag  long",
        f"313637935709683761  20.5  {'x' * 300}",
        f"313637935709683762  NULL  {'x' * 300}",
    ]


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_ids_are_exact(run: Run, small_lake: Lake, form: str) -> None:
    """An id of 18 digits, and a sum beyond 64 bits, keep every digit."""
    statement = "SELECT diaObjectId, sum(diaObjectId) OVER () * 100 AS s FROM lasair_one LIMIT 1"
    result = run("sql", "--lake", small_lake.root, statement, form)
    found = result.json if form == "--json" else list(csv.DictReader(io.StringIO(result.out)))
    assert int(found[0]["diaObjectId"]) == ID
    assert int(found[0]["s"]) == 100 * sum(range(ID, ID + 18))


def test_json_is_strict(run: Run, small_lake: Lake) -> None:
    """JSON holds what any parser takes: NaN is null, infinities are text, times are ISO 8601."""
    statement = """
        SELECT 'nan'::DOUBLE AS nan, '-inf'::DOUBLE AS inf, [1.5, 'nan'::DOUBLE] AS list,
            {'a': {'b': [NULL, 'x"y']}} AS nested, TIMESTAMP '2026-02-14 13:41:02.5' AS at,
            DATE '2026-02-14' AS day, 1.25::DECIMAL(9, 2) AS dec, 0.1::DECIMAL(30, 25) AS fine,
            true AS yes, NULL AS nothing, 'ü' AS text, 'ab'::BLOB AS bytes, MAP {'k': 1} AS map,
            INTERVAL 1 DAY AS day_long, 123456789012345678901234567890::HUGEINT AS huge
    """
    (row,) = run("sql", "--lake", small_lake.root, statement, "--json").json
    assert row == {
        "nan": None,
        "inf": "-Infinity",
        "list": [1.5, None],
        "nested": {"a": {"b": [None, 'x"y']}},
        "at": "2026-02-14T13:41:02.500000",
        "day": "2026-02-14",
        "dec": 1.25,
        "fine": 0.1,
        "yes": True,
        "nothing": None,
        "text": "ü",
        "bytes": "6162",
        "map": [["k", 1]],
        "day_long": [0, 1, 0],
        "huge": 123456789012345678901234567890,
    }


def test_csv_tells_null_from_empty(run: Run, small_lake: Lake) -> None:
    """In CSV an empty field is NULL and "" an empty text; DuckDB reads it back as it was."""
    statement = "SELECT NULL AS a, '' AS b, 'x,\"y\"' AS c, [1, 2] AS d, 'nan'::DOUBLE AS e"
    result = run("sql", "--lake", small_lake.root, statement, "--csv")
    assert result.out.splitlines() == ["a,b,c,d,e", ',"","x,""y""","[1, 2]",nan']


def test_parquet_keeps_types_and_values(run: Run, small_lake: Lake, tmp_path: Path) -> None:
    """--parquet writes what DuckDB found, nested lists too, and says how much on stderr."""
    result = run(
        "sql", "--lake", small_lake.root, "FROM lasair_one", "--parquet", tmp_path / "o.parquet"
    )
    assert (result.code, result.out) == (0, "")
    assert "18 rows" in result.err
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.schema.field("diaObjectId").type == pa.int64()
    assert table.schema.field("UTC").type == pa.timestamp("us")
    sources = table.column("alert").to_pylist()[0]["diaSourcesList"]
    assert sources == [{"psfFlux": 17.5, "band": "r"}, {"psfFlux": 1000.0, "band": None}]


def test_parquet_that_fails_leaves_nothing(run: Run, small_lake: Lake, tmp_path: Path) -> None:
    """A query that fails on its way leaves neither half a file nor an older one harmed."""
    out = tmp_path / "o.parquet"
    out.write_text("before")
    statement = "SELECT (CASE WHEN i = 50000 THEN 'x' ELSE '1' END)::INTEGER FROM range(60000) t(i)"
    assert run("sql", "--lake", small_lake.root, statement, "--parquet", out).code == 64
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["o.parquet"]


def test_a_mistake_is_64_with_duckdbs_words(run: Run, small_lake: Lake) -> None:
    """A mistake in SQL is shown as DuckDB says it, with the place, and without a traceback."""
    result = run("sql", "--lake", small_lake.root, "SELECT diaObjectID2 FROM alerts")
    assert result.code == 64
    assert 'Candidate bindings: "diaObjectId"' in result.err
    result = run("sql", "--lake", small_lake.root, "SELEC 1")
    assert result.code == 64
    assert "\n        ^^^^^" in "\n" + result.err.replace("LINE 1: SELEC 1", "")
    assert "Traceback" not in result.err


def test_nothing_can_be_written(run: Run, small_lake: Lake) -> None:
    """The published file is open read-only: every attempt to change it is refused."""
    before = small_lake.public.read_bytes()
    for statement in ("CREATE TABLE t (a INTEGER)", "DELETE FROM etl.spans", "DROP VIEW alerts"):
        result = run("sql", "--lake", small_lake.root, statement)
        assert result.code == 64
        assert "read-only" in result.err
    assert small_lake.public.read_bytes() == before


def test_what_an_alert_says_is_no_order_to_the_terminal(run: Run, small_lake: Lake) -> None:
    """Control characters in a value are shown as escapes."""
    result = run("sql", "--lake", small_lake.root, "SELECT chr(27) || '[31m' || chr(10) AS bad")
    assert result.out.splitlines()[1] == "\\x1b[31m\\n"


def test_an_answer_without_rows(run: Run, small_lake: Lake) -> None:
    """No rows are a header, an empty array, or an empty file: never an error."""
    statement = "SELECT ra FROM alerts WHERE false"
    assert run("sql", "--lake", small_lake.root, statement).out == "ra\n"
    assert run("sql", "--lake", small_lake.root, statement, "--csv").out == "ra\n"
    assert run("sql", "--lake", small_lake.root, statement, "--json").json == []


def test_sql_from_stdin(small_lake: Lake) -> None:
    """A dash reads the SQL from stdin, for statements that are long."""
    done = subprocess.run(
        [sys.executable, "-m", "etl", "sql", "-", "--lake", str(small_lake.root), "--csv"],
        input="SELECT count(*) AS n\nFROM alerts",
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout == "n\n24\n"


def on_a_terminal(*arguments: str, columns: int = 80) -> str:
    """Run a command with a terminal as its stdout, and give what that shows."""
    here, there = os.openpty()
    environment = clean_environment() | {"COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "etl", *arguments], stdout=there, env=environment
    ) as process:
        os.close(there)
        shown = b""
        while True:
            try:
                part = os.read(here, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(here)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_table(small_lake: Lake) -> None:
    """On a terminal an answer that fits is a table, and a long text is cut."""
    statement = "SELECT diaObjectId, repeat('x', 300) AS long FROM lasair_one LIMIT 1"
    shown = on_a_terminal("sql", "--lake", str(small_lake.root), statement, columns=100)
    assert str(ID) in shown
    assert "─" in shown
    assert "x" * 59 + "…" in shown


def test_a_terminal_gets_wide_rows_one_field_a_line(small_lake: Lake) -> None:
    """Rows that are too wide for the terminal are shown one field a line, nothing squeezed."""
    shown = on_a_terminal("sql", "--lake", str(small_lake.root), "FROM lasair_one LIMIT 2")
    assert shown.count("row ") == 2
    assert f"  diaObjectId      {ID}\n" in shown


def test_a_terminal_is_not_flooded(small_lake: Lake) -> None:
    """On a terminal a long answer ends after a few screens, and says how to get all."""
    shown = on_a_terminal("sql", "--lake", str(small_lake.root), "FROM range(100000)")
    assert len(shown.splitlines()) < 250
    assert "first 200 rows" in shown
