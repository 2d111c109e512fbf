"""The results that were kept, by machine and versions, and whether the drain has become slower.

Compared is a ratio, never a time: how much less of a processor the drain takes than the naive
program that ran beside it, in the best of the rounds. Busy neighbours move the ratio of the seconds
by more than any change that is worth finding; this one moves by less.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("history")
RATIO = "drain_to_naive_cpu"
TOLERATED = 0.20
NEWEST = 3
"""So many results of the same code, kept beside quiet and busy neighbours, are its range."""


@dataclass(frozen=True, slots=True)
class Change:
    """The ratio for one kind of alerts, as it was kept last and as it is now."""

    kind: str
    before: float
    now: float

    @property
    def is_too_much(self) -> bool:
        """Return whether it fell by more than is tolerated."""
        return self.now < self.before * (1 - TOLERATED)

    def __str__(self) -> str:
        verdict = "FELL" if self.is_too_much else "holds"
        return f"{verdict}: {self.kind} {RATIO}: {self.before:.2f} kept, {self.now:.2f} now"


def keep(everything: Mapping[str, Any]) -> Path:
    """Add a bench's ratios to the history, without the single runs."""
    results = [
        {name: value for name, value in each.items() if name != "runs"}
        for each in everything["results"]
    ]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{everything['environment']['broker']}.json"
    text = json.dumps({"environment": everything["environment"], "results": results}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def kept_ratio(broker: str, kind: str, messages: int) -> float | None:
    """Return the lowest of the newest ratios kept of so many alerts of a kind on such a broker."""
    found = [
        each[RATIO]
        for path in sorted(FOLDER.glob(f"*-{broker}.json"), reverse=True)
        for each in json.loads(path.read_text(encoding="utf-8"))["results"]
        if each["kind"] == kind and each["messages"] == messages and RATIO in each
    ]
    return min(found[:NEWEST], default=None)


def fallen(everything: Mapping[str, Any]) -> list[Change]:
    """Compare each kind with what was kept of as many of its alerts."""
    changes = []
    for each in everything["results"]:
        kept = kept_ratio(everything["environment"]["broker"], each["kind"], each["messages"])
        if kept is not None:
            changes.append(Change(each["kind"], kept, each[RATIO]))
    return changes
