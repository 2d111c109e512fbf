"""The results that were kept, by machine and versions, and whether a ratio has fallen since.

Ratios are compared, never times: of the drain to the consumer and to the naive program, which ran
beside it on the same machine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("history")
RATIOS = ("drain_to_consumer", "drain_to_naive")
TOLERATED = 0.20


@dataclass(frozen=True, slots=True)
class Change:
    """One ratio, as it was kept last and as it is now."""

    kind: str
    ratio: str
    before: float
    now: float

    @property
    def is_too_much(self) -> bool:
        """Say whether it fell by more than is tolerated."""
        return self.now < self.before * (1 - TOLERATED)

    def __str__(self) -> str:
        verdict = "FELL" if self.is_too_much else "holds"
        return f"{verdict}: {self.kind} {self.ratio}: {self.before:.2f} kept, {self.now:.2f} now"


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


def newest(broker: str) -> dict[str, Any] | None:
    """Give what was kept last on such a broker."""
    found = sorted(FOLDER.glob(f"*-{broker}.json"))
    kept: dict[str, Any] | None = json.loads(found[-1].read_text()) if found else None
    return kept


def fallen(everything: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> list[Change]:
    """Compare every ratio with the newest that was kept on such a broker."""
    before = before or newest(everything["environment"]["broker"])
    kept = {each["kind"]: each for each in before["results"]} if before else {}
    return [
        Change(each["kind"], ratio, kept[each["kind"]][ratio], each[ratio])
        for each in everything["results"]
        if each["kind"] in kept
        for ratio in RATIOS
    ]
