"""The repertoire: each fault, how often it comes, and how drains that meet it may end."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from etl.errors import DATA_AT_RISK, LAKE_NOT_WRITABLE, OK, TRY_LATER, WRONG_SETTINGS
from tests.chaos import clusters, faults
from tests.chaos.scene import Scene
from tests.flow.drains import Finished

KILLED, STOPPED = -signal.SIGKILL, -signal.SIGTERM


def no_help(_scene: Scene, _ended: Sequence[Finished]) -> list[Finished]:
    """Leave it to the next drain."""
    return []


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, and what is right where it happens.

    Parameters
    ----------
    play
        What happens; returns the drains that met it, which must have ended with one of `codes`.
    told
        The code that one of them must have ended with.
    operator
        What the operator does next; returns the drains that he ran for it, which must be well.
    needs
        What has to be there.
    begins
        Whether it needs a lake that is not there yet.
    """

    play: Callable[[Scene], list[Finished]]
    weight: int = 2
    codes: frozenset[int] = frozenset({OK, TRY_LATER})
    told: int | None = None
    operator: Callable[[Scene, Sequence[Finished]], list[Finished]] = no_help
    needs: frozenset[str] = frozenset()
    begins: bool = False


def _codes(*codes: int) -> frozenset[int]:
    return frozenset(codes)


_KAFKA, _DISK, _ANOTHER = frozenset({"kafka"}), frozenset({"disk"}), frozenset({"another"})

FAULTS: Mapping[str, Kind] = {
    "nothing": Kind(faults.nothing, 1, _codes(OK)),
    "drain killed": Kind(faults.drain_killed, 4, _codes(OK, KILLED)),
    "first drains killed": Kind(faults.first_drains_killed, 1, _codes(OK, KILLED), begins=True),
    "drain compacts": Kind(faults.drain_compacts, 4, _codes(OK, KILLED)),
    "drain asked to stop": Kind(faults.drain_asked_to_stop, 2, _codes(OK, TRY_LATER, STOPPED)),
    "clock jumps": Kind(faults.clock_jumps, 2, _codes(OK, KILLED)),
    "broker killed": Kind(faults.broker_killed, 1, needs=_KAFKA),
    "broker frozen": Kind(faults.broker_frozen, needs=_KAFKA),
    "cluster swapped": Kind(
        clusters.cluster_swapped,
        1,
        _codes(WRONG_SETTINGS),
        operator=clusters.decide,
        needs=_ANOTHER,
    ),
    "cluster rebuilt": Kind(
        clusters.cluster_rebuilt,
        1,
        _codes(OK, TRY_LATER, DATA_AT_RISK),
        told=DATA_AT_RISK,
        needs=_KAFKA,
    ),
    "two drains": Kind(faults.two_drains, codes=_codes(OK, TRY_LATER, KILLED)),
    "topic recreated": Kind(faults.topic_recreated),
    "topic recreated in a drain": Kind(
        faults.topic_recreated_in_a_drain, 4, _codes(OK, TRY_LATER, DATA_AT_RISK), needs=_KAFKA
    ),
    "bad messages": Kind(faults.bad_messages, 1, _codes(OK)),
    "large messages": Kind(faults.large_messages, 1, _codes(OK)),
    "many-keyed messages": Kind(faults.many_keyed_messages, 1, _codes(OK)),
    "stale log": Kind(faults.stale_log, 1, _codes(OK)),
    "backup restored": Kind(
        faults.backup_restored, 1, _codes(WRONG_SETTINGS), operator=faults.follow_advice
    ),
    "disk full": Kind(
        faults.disk_full, 2, _codes(OK, LAKE_NOT_WRITABLE), operator=faults.make_room, needs=_DISK
    ),
    "retention": Kind(faults.retention, 1, _codes(OK, DATA_AT_RISK), needs=_KAFKA),
}
