"""The reader on thousands of simulated schedules; see `tests.unit.kafka.world`.

SIMULATION_SCHEDULES=100000 plays more, SIMULATION_SEED=7 other ones.
"""

import os

import pytest

from etl.kafka import reader
from tests.unit.kafka.account import check
from tests.unit.kafka.schedule import Schedule, drawn, play, shortened

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "5000"))
SEED = int(os.environ.get("SIMULATION_SEED", "0"))
CHUNKS = 10


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH_MESSAGES", 8)
    monkeypatch.setattr(reader, "POLL_MESSAGES", 5)


def problem(schedule: Schedule) -> str | None:
    """Play a schedule; return what is wrong with the reading, None where all is well."""
    try:
        check(play(schedule))
    except Exception as error:  # noqa: BLE001 - whatever it is, the schedule shows it
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_offset_is_accounted_for_once_whatever_the_broker_does(chunk: int):
    """Each offset is given once, absent or in a gap, and nothing is of another incarnation."""
    first = SEED * 1_000_000_000 + chunk * SCHEDULES // CHUNKS
    for seed in range(first, first + SCHEDULES // CHUNKS):
        schedule = drawn(seed)
        if problem(schedule) is not None:
            short = shortened(schedule, lambda each: problem(each) is not None)
            pytest.fail(f"seed {seed}: {problem(short)}\n{short}")
