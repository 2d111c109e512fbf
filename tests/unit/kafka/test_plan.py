import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kafka.plan import plan_topic
from etl.kafka.recognition import same_incarnation
from etl.records import Gap, Position, Span
from tests.unit.json_reference import law

TOPIC = "lasair_2test"
ID = "a-topic-id"

offsets = st.dictionaries(st.integers(0, 4), st.integers(0, 20), max_size=5)


@law(200)
@given(offsets, st.integers(1, 3), offsets, offsets)
def test_plan_holds_for_any_offsets(
    low: dict[int, int], incarnation: int, known: dict[int, int], committed: dict[int, int]
):
    """Each partition of the broker starts where it should, or at what is left, and says the gap."""
    plan = plan_topic(TOPIC, ID, low, incarnation, known, committed)
    assert (plan.topic, plan.topic_id, plan.incarnation) == (TOPIC, ID, incarnation)
    assert [position.partition for position in plan.positions] == sorted(low)
    gaps = {gap.span.partition: gap.span for gap in plan.gaps}
    for position in plan.positions:
        assert position.start >= low[position.partition]
        assert position.start == max(position.expected, low[position.partition])
        assert position.is_new == (position.partition not in known)
        span = Span(TOPIC, incarnation, position.partition, position.expected, position.start)
        assert gaps.get(position.partition, span) == span
        assert (position.partition in gaps) == (span.end > span.start)


@law(100)
@given(offsets, st.integers(1, 3), offsets, offsets, offsets)
def test_catalog_says_where_to_resume(
    low: dict[int, int],
    incarnation: int,
    known: dict[int, int],
    committed: dict[int, int],
    other: dict[int, int],
):
    """Once the lake has met a topic, no group's committed offset changes where it goes on."""
    plan = plan_topic(TOPIC, ID, low, incarnation, known, committed)
    for position in plan.positions:
        if position.partition in known:
            assert (position.expected, position.reason) == (known[position.partition], "catalog")
    if known or incarnation > 1:
        assert plan == plan_topic(TOPIC, ID, low, incarnation, known, other)


def position(partition: int, expected: int, start: int, reason: str, *, is_new: bool) -> Position:
    """Write a position in the topic's first life."""
    return Position(TOPIC, 1, partition, expected, start, reason, is_new)


def test_first_meeting_without_a_group():
    """A topic that neither lake nor group knows is read from the earliest offset, without a gap."""
    plan = plan_topic(TOPIC, ID, {0: 5, 1: 0}, 1, {}, {})
    assert plan.positions == (
        position(0, 5, 5, "earliest", is_new=True),
        position(1, 0, 0, "earliest", is_new=True),
    )
    assert plan.gaps == ()


def test_first_meeting_with_a_group():
    """Where the lake meets a topic for the first time, the group's committed offsets count."""
    plan = plan_topic(TOPIC, None, {0: 5, 1: 0, 2: 7}, 1, {}, {0: 9, 2: 3})
    assert plan.positions == (
        position(0, 9, 9, "group", is_new=True),
        position(1, 0, 0, "earliest", is_new=True),
        position(2, 3, 7, "group", is_new=True),
    )
    reason = "the broker had dropped it before this run"
    assert plan.gaps == (Gap(Span(TOPIC, 1, 2, 3, 7), reason),)


def test_same_life_goes_on_at_the_catalogs_offsets():
    """The same life goes on where the catalog is; what the broker has dropped since is a gap."""
    plan = plan_topic(TOPIC, ID, {0: 5, 1: 20}, 1, {0: 9, 1: 12}, {0: 100, 1: 100})
    assert plan.positions == (
        position(0, 9, 9, "catalog", is_new=False),
        position(1, 12, 20, "catalog", is_new=False),
    )
    assert [gap.span for gap in plan.gaps] == [Span(TOPIC, 1, 1, 12, 20)]


def test_new_partition_of_a_known_topic():
    """A partition added to a known topic is read from offset 0; what is gone is a gap."""
    plan = plan_topic(TOPIC, ID, {0: 0, 1: 0, 2: 6}, 1, {0: 9}, {1: 4})
    assert plan.positions[1] == position(1, 0, 0, "added", is_new=True)
    assert plan.positions[2] == position(2, 0, 6, "added", is_new=True)
    assert [gap.span for gap in plan.gaps] == [Span(TOPIC, 1, 2, 0, 6)]


def test_later_life_starts_at_its_beginning():
    """A recreated topic is read from offset 0, whatever the group says; what is gone is a gap."""
    plan = plan_topic(TOPIC, ID, {0: 0, 1: 4}, 2, {}, {0: 9, 1: 9})
    assert [(p.expected, p.start, p.reason, p.is_new) for p in plan.positions] == [
        (0, 0, "recreated", True),
        (0, 4, "recreated", True),
    ]
    assert [gap.span for gap in plan.gaps] == [Span(TOPIC, 2, 1, 0, 4)]


def test_later_life_goes_on_too():
    """The second run in a later life goes on at the catalog's offsets of that life."""
    plan = plan_topic(TOPIC, ID, {0: 0, 1: 0}, 2, {0: 7}, {0: 1, 1: 1})
    assert [(p.partition, p.start, p.reason) for p in plan.positions] == [
        (0, 7, "catalog"),
        (1, 0, "added"),
    ]


def test_topic_without_partitions():
    """A topic of which the broker tells no partition has nothing to read."""
    assert plan_topic(TOPIC, None, {}, 1, {0: 5}, {}).positions == ()


@pytest.mark.parametrize(
    ("known", "broker", "same"),
    [("a", "a", True), ("a", "b", False), (None, "a", None), ("a", None, None), (None, None, None)],
)
def test_life_is_recognised_by_its_id(known: str | None, broker: str | None, same: bool | None):
    """Two ids tell whether it is the same life; where one is missing they tell nothing."""
    assert same_incarnation(known, broker) is same
