"""What a run found: its problems with their exit codes, and its outcome."""

from dataclasses import dataclass

from etl.jobs.compact import Compacted
from etl.records import Figures


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its figures, what cron should know, and the sentences that say why."""

    run_id: str
    exit_code: int
    figures: Figures
    stopped: str
    notes: tuple[str, ...] = ()
    compacted: Compacted | None = None


def listed(names: list[str], most: int = 5) -> str:
    """Write the first names, and how many more there are."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
