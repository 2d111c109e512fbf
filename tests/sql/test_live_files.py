import re
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas  # noqa: ICN001 - as README's lines have it
import polars  # noqa: ICN001
import pyarrow.dataset  # noqa: F401 - for README's lines
import pytest

import etl
from etl.config.settings import Settings
from etl.errors import DataAtRisk, WrongUsage
from etl.jobs import compact as compact_job
from etl.lake.layout import Lake
from tests.cli.conftest import Run, run  # noqa: F401 - a fixture
from tests.sql.lakes import Writer

ROOT = Path(__file__).resolve().parents[2]
LINES = re.findall(
    r"^((?:duckdb|polars|pandas|pyarrow)\..+\(.*files.*)$",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
ID = 313637935709683761
OLD = b'{"diaObjectId": %d, "x": 3, "s": {"a": 1}, "l": [{"p": 1}]}'
NEW = (
    b'{"diaObjectId": %d, "x": 0.5, "s": {"a": 1, "b": "t", "new": {"deep": 7}}, '
    b'"l": [{"p": 1, "q": 2}]}'
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Make a lake with retired files, one of several nights, one of one, and three schemas."""
    writer = Writer(tmp_path_factory.mktemp("files") / "lake")
    for night in range(5):
        writer.run([OLD % (ID + night)], hours=24 * night)
    writer.run([b"not json"], hours=24)
    writer.run([OLD % (ID + 5)], hours=24 * 30)
    writer.run([NEW % (ID + 6)], hours=24 * 31)
    writer.run([OLD % ID], topic="lasair_two")
    lake = writer.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_job, "utc_now", lambda: datetime(2026, 3, 10))
        done = compact_job.compact(Settings("", "", (), lake.root))
    assert (done.files_before, done.files_after) == (5, 1)
    return lake


def test_the_readme_has_a_line_for_each_program() -> None:
    """The lines tested here are README's own."""
    assert [line.partition(".")[0] for line in LINES] == ["duckdb", "polars", "pandas", "pyarrow"]


@pytest.mark.parametrize("line", LINES)
def test_each_alert_is_read_once_after_a_compaction(stored: Lake, line: str) -> None:
    """README's line reads each alert once, with exact ids and all columns of all schemas."""
    with etl.open(stored.root) as lake:
        files = lake.files("lasair_one")
    rows = as_rows(read(line, files))
    assert [row["diaObjectId"] for row in rows] == [ID + n for n in range(7)]
    assert [row["x"] for row in rows] == [3.0] * 6 + [0.5]
    assert [row["s"]["b"] for row in rows] == [None] * 6 + ["t"]
    assert [row["l"][0]["q"] for row in rows] == [None] * 6 + [2]
    assert [row["diaObjectId"] for row in rows if deep(row["s"]["new"]) == 7] == [ID + 6]
    assert len(list((stored.root / "data/kafka_topic=lasair_one").rglob("*.parquet"))) > len(files)


def deep(new: Any) -> Any:
    """Return the field inside; polars has structs of nulls for missing ones."""
    return new["deep"] if isinstance(new, dict) else None


def test_duckdb_reads_a_field_that_older_files_lack(stored: Lake) -> None:
    """README's line for DuckDB reads a field of a new object, which `union_by_name` can't.

    See duckdb/duckdb#24253.
    """
    with etl.open(stored.root) as lake:
        found = read(LINES[0], lake.files("lasair_one"))
    assert found.aggregate("count(*), count(s.new.deep), sum(s.new.deep)").fetchall() == [(7, 1, 7)]


def read(line: str, files: list[str]) -> Any:
    """Run a line of README."""
    names = {name: globals()[name] for name in ("duckdb", "polars", "pandas", "pyarrow")}
    return eval(line, names | {"files": files})


def as_rows(found: Any) -> list[Any]:
    """Return what a program read as dictionaries, in the order of ids."""
    if isinstance(found, duckdb.DuckDBPyRelation):
        found = found.to_arrow_table()
    if isinstance(found, pandas.DataFrame):
        rows = found.to_dict("records")
    else:
        rows = found.to_dicts() if isinstance(found, polars.DataFrame) else found.to_pylist()
    return sorted(rows, key=lambda row: row["diaObjectId"])


def test_the_verb_and_the_method_list_the_same(run: Run, stored: Lake) -> None:  # noqa: F811
    """Both list the live alert files of a topic or of all, as absolute paths, and no rejects."""
    with etl.open(stored.root) as lake:
        every, one = lake.files(), lake.files("lasair_one")
        assert (len(every), len(one)) == (4, 3)
        assert all(Path(path).is_absolute() and Path(path).is_file() for path in every)
        with pytest.raises(WrongUsage, match="no such topic here"):
            lake.files("nosuch")
    assert run("files", "--lake", stored.root).out.splitlines() == every
    assert run("files", "lasair_one", "--lake", stored.root, "--json").json == one
    assert run("files", "nosuch", "--lake", stored.root).code == 64


def test_a_file_that_is_gone_is_left_out_and_named(run: Run, lake: Path) -> None:  # noqa: F811
    """The rest is listed, with 65 or a warning; a snapshot that outlived its files is refused."""
    writer = Writer(lake)
    for night in range(2):
        writer.run([OLD % night], hours=24 * night)
    root = writer.close().root
    with etl.open(root) as opened:
        first, second = opened.files()
        Path(first).unlink()
        with pytest.warns(UserWarning, match="gone, and left out"):
            assert opened.files() == [second]
        result = run("files", "--lake", root)
        assert (result.code, result.out.splitlines()) == (65, [second])
        assert first in result.err
        Writer(root).close()
        with pytest.raises(DataAtRisk, match=r"lake\.refresh\(\)"):
            opened.files()
