"""Faults of the reader that the simulation found, each as the shortest schedule that showed it."""

from dataclasses import replace
from typing import Any

from etl.kafka.reader import Limits, StopReason
from tests.unit.kafka.account import check
from tests.unit.kafka.schedule import Played, Schedule, Setup, play
from tests.unit.kafka.world import Event

SLOW = Setup(
    partitions=(1,),
    contents=("aaaa",),
    starts=(0,),
    reason="catalog",
    has_ids=True,
    names_new_id=False,
    latency_s=0.3,
    fetch_size=9,
    work_s=0.0,
    limits=Limits(2.0, 1.0, None, 30.0, 30.0),
)


def played(*events: Event, **changes: Any) -> Played:
    """Play a schedule on a slow broker, check it, and return how it went."""
    found = play(Schedule(replace(SLOW, **changes), events))
    check(found)
    return found


def event(at: float, kind: str, amount: int, topic: int = 0) -> Event:
    """Return an event of a topic's first partition."""
    return Event(at, kind, f"topic{topic}", 0, amount)


def test_restart_below_the_groups_offset_leaves_no_false_gap_when_the_topic_is_deleted():
    """The group's offset beyond the end is no end that the topic ever had."""
    found = played(
        event(1.0, "recreate", 5),
        contents=("",),
        starts=(-1,),
        reason="group",
        names_new_id=True,
        latency_s=0.05,
        limits=Limits(5.0, 1.0, None, 30.0, 0.5),
    )
    assert found.reader.restarted == {("topic0", 0): 0}
    assert found.reader.recreated == {"topic0"}
    assert [gap for batch in found.batches for gap in batch.gaps] == []


def test_recreated_topic_whose_id_is_not_answered_is_not_called_truncated():
    """An offset beyond the end of an unknown incarnation says nothing of lost alerts."""
    found = played(event(0.5, "recreate", 1), event(0.8, "fall_silent", 2), starts=(99,))
    assert found.reader.stopped == StopReason.UNPROVEN
    assert found.reader.truncated == set()


def test_beginning_of_a_new_incarnation_is_not_taken_for_the_planned_ones():
    """A topic recreated between the questions for its id and its beginning is not truncated."""
    found = played(
        event(0.192, "retain", 5),
        event(1.326, "recreate", 2),
        contents=("a" * 16,),
        starts=(10,),
        limits=Limits(0.0, 3.0, None, 30.0, 30.0),
    )
    assert found.reader.recreated == {"topic0"}
    assert found.reader.truncated == set()


def test_end_that_a_new_incarnation_tells_does_not_replace_the_planned_ones():
    """The ends that count are those known before the topic's id was asked for."""
    found = played(event(1.35, "recreate", 30), latency_s=0.1)
    assert found.reader.recreated == {"topic0"}
    assert [gap for batch in found.batches for gap in batch.gaps] == []


def test_broker_that_answers_late_and_has_just_started_is_asked_again():
    """Patience with a topic that seems to be gone begins with the first answer."""
    found = played(
        event(0.95, "fall_silent", 1), event(1.9, "forget", 0), contents=("aaaaaa",), latency_s=0.05
    )
    assert found.reader.stopped == StopReason.DRAINED
    assert found.reader.recreated == set()


def test_topic_that_is_waited_for_does_not_cost_what_is_known_of_another():
    """The first answer that has a topic's id counts, however long another topic is missing."""
    found = played(
        event(0.1, "append", 30, topic=1),
        event(0.9, "delete", 0),
        event(1.5, "recreate", 2, topic=1),
        partitions=(1, 1),
        contents=("aaaa", "aaaa"),
        starts=(0, 0),
        latency_s=0.05,
        fetch_size=1,
        limits=Limits(2.0, 3.0, None, 30.0, 30.0),
    )
    assert found.reader.recreated == {"topic0", "topic1"}
    assert [gap.span.end for batch in found.batches for gap in batch.gaps] == [34]
