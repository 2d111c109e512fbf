import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etl.lake.layout import Lake
from etl.read.worked_queries import analyses
from tests.cli.conftest import Run


def test_without_a_name_they_are_listed(run: Run) -> None:
    """Without a name every worked query is listed with what it answers; no lake is asked for."""
    result = run("query")
    assert result.code == 0
    for name, each in analyses().items():
        assert name in result.out.splitlines()
        assert each.answers.split("?")[0].split()[-1] in result.out
        assert not each.variables or f"-p {', '.join(each.variables)}" in result.out


def test_a_query_answers_in_every_form(run: Run, small_lake: Lake, tmp_path: Path) -> None:
    """A worked query gives text, CSV, JSON or a Parquet file, as `sql` does."""
    asked = ("query", "alerts_per_night", "--lake", small_lake.root)
    rows = run(*asked, "--json").json
    assert rows == [
        {"night": "2026-02-15", "kafka_topic": "lasair_two", "alerts": 4, "objects": 4},
        {"night": "2026-02-14", "kafka_topic": "lasair_one", "alerts": 18, "objects": 18},
        {"night": "2026-02-14", "kafka_topic": "lasair_two", "alerts": 2, "objects": 2},
    ]
    found = list(csv.DictReader(io.StringIO(run(*asked, "--csv").out)))
    assert [row["alerts"] for row in found] == ["4", "18", "2"]
    assert "lasair_one" in run(*asked).out
    assert run(*asked, "--parquet", tmp_path / "o.parquet").code == 0
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 3
    assert run(*asked, "--csv", "--parquet", tmp_path / "p.parquet").code == 64


def test_a_parameter_changes_the_answer(run: Run, small_lake: Lake) -> None:
    """-p sets what the query leaves open; without it the default holds."""
    asked = ("query", "busiest_sky", "--lake", small_lake.root, "--json")
    assert run(*asked).code == 0
    asked = ("query", "new_with_host", "--lake", small_lake.root, "--json")
    assert run(*asked, "-p", "since=2020-01-01", "-p", "classes=a'b=c").json == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "brightening"),
        (["brightening", "-p", "nope=1"], "snr, mag_per_day"),
        (["latency", "-p", "x=1"], "none"),
        (["brightening", "-p", "snr"], "KEY=VALUE"),
        (["brightening", "-p", "snr=much"], "much"),
        (["new_with_host", "-p", "since=much"], "much"),
        (["-p", "snr=1"], "NAME"),
        (["--csv"], "NAME"),
    ],
)
def test_what_does_not_exist(run: Run, small_lake: Lake, arguments: list[str], words: str) -> None:
    """A wrong name or parameter is wrong usage, and the message names those that there are."""
    result = run("query", "--lake", small_lake.root, *arguments)
    assert (result.code, result.out) == (64, "")
    assert words in result.err
