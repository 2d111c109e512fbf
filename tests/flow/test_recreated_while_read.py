"""A topic recreated under a running drain: nothing is filed under the wrong incarnation.

The reader is the drain's own, on a real connection; what a test adds is the worst moment, between
the arrival of messages and the question of which incarnation they are of.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from etl.kafka.client import Client
from etl.kafka.reader import Limits, Reader
from etl.kafka.topics import Topics
from etl.records import Batch, Gap, Position, Span
from tests.flow.brokers import ANSWER_S

pytestmark = pytest.mark.not_on(
    "embedded", reason="deleting a topic there crashes a consumer of it (docs/measurements.md)"
)

OLD, NEW = 30, 60


class Interrupted(Client):
    """A connection on which something happens once, right after the old messages arrived."""

    happens: Callable[[], None] | None = None
    until: bytes | None = None
    arrived = 0

    def poll(self, most: int, timeout_s: float) -> list[Any]:
        """Poll as ever; after the event go on until a message like `until` has come too."""
        heard = super().poll(most, timeout_s)
        self.arrived += sum(m.error() is None for m in heard)
        if self.happens is None or self.arrived < OLD:
            return heard
        happens, self.happens = self.happens, None
        happens()
        end = time.monotonic() + ANSWER_S
        while self.until is not None and time.monotonic() < end:
            more = super().poll(most, 0.2)
            heard += more
            if any(m.error() is None and (m.value() or b"").startswith(self.until) for m in more):
                return heard
        assert self.until is None, (
            "the new incarnation's messages never came under the old assignment"
        )
        return heard


class ForgetfulTopics(Topics):
    """The answers of a broker that has just started and does not know the topic at first."""

    asked = 0

    def ids(self, topics: Sequence[str], timeout_s: float) -> dict[str, str | None]:
        """Return no topic in the second answer."""
        self.asked += 1
        return {} if self.asked == 2 else super().ids(topics, timeout_s)


class Deaf(Interrupted):
    """The same, where a second connection finds nobody."""

    def twin(self) -> Client:
        """Connect to a port on which nobody listens."""
        return Client("127.0.0.1:1", self.group_id, 1.0, {})


def values(incarnation: str, count: int) -> list[bytes]:
    """Write alerts that say which incarnation of the topic they were sent to."""
    return [b'%s{"n": %d}' % (b" " * (incarnation == "new"), n) for n in range(count)]


def read(client: Interrupted, topic: str) -> tuple[Reader, list[Batch]]:
    """Read one partition from its beginning as a drain does."""
    ids = client.topics.ids([topic], 10.0)
    start = Position(topic, 1, 0, 0, 0, "earliest", is_new=True)
    limits = Limits(0.0, 10.0, None, 60.0, 60.0)
    with client:
        reader = Reader(client, [start], limits, ids)
        return reader, [batch for batch in reader.batches() if batch is not None]


def test_messages_of_the_new_incarnation_are_never_filed_under_the_old(kafka, broker, new_topic):
    """Reading goes on at the old offset in the new topic: only what came before is kept."""
    topic = new_topic(1)
    kafka.publish(topic, values("old", OLD), 1)
    client = Interrupted(broker, "any", 10.0, {})

    def recreate() -> None:
        kafka.recreate(topic, 1)
        kafka.publish(topic, values("new", NEW), 1)

    client.happens, client.until = recreate, b" "
    reader, batches = read(client, topic)
    assert [v for batch in batches for v in batch.values] == values("old", OLD)
    assert [s for batch in batches for s in batch.spans] == [Span(topic, 1, 0, 0, OLD)]
    assert [g for batch in batches for g in batch.gaps] == []
    assert reader.recreated == {topic}


def test_one_answer_that_does_not_know_the_topic_is_no_deletion(kafka, broker, new_topic):
    """A topic that is missing from one answer, and there in the next, is read to its end."""
    topic = new_topic(1)
    kafka.publish(topic, values("old", OLD), 1)
    client = Interrupted(broker, "any", 10.0, {})
    client.topics = ForgetfulTopics(client.admin, broker, 10.0, client.translated)
    reader, batches = read(client, topic)
    assert [v for batch in batches for v in batch.values] == values("old", OLD)
    assert [g for batch in batches for g in batch.gaps] == []
    assert (reader.stopped, reader.recreated) == ("drained", set())


def test_topic_deleted_for_good_leaves_all_that_had_arrived(kafka, broker, new_topic):
    """What had arrived of a topic that is gone is of its old incarnation, and kept."""
    topic = new_topic(1)
    kafka.publish(topic, values("old", OLD), 1)
    client = Interrupted(broker, "any", 10.0, {})
    client.happens = lambda: kafka.delete(topic)
    reader, batches = read(client, topic)
    assert [v for batch in batches for v in batch.values] == values("old", OLD)
    assert [s for batch in batches for s in batch.spans] == [Span(topic, 1, 0, 0, OLD)]
    assert reader.recreated == {topic}


def test_what_can_not_be_told_apart_is_not_filed_and_said_to_be_lost(kafka, broker, new_topic):
    """Where the new incarnation can't be asked for, what is unproven is a gap, or read again."""
    topic = new_topic(1)
    kafka.publish(topic, values("old", OLD), 1)
    client = Deaf(broker, "any", 10.0, {})
    client.happens = lambda: kafka.recreate(topic, 1)
    reader, batches = read(client, topic)
    assert [v for batch in batches for v in batch.values] == []
    gaps = [gap for batch in batches for gap in batch.gaps]
    reason = "the topic was deleted before it was read to its end"
    assert gaps == [Gap(Span(topic, 1, 0, 0, OLD), reason)]
    assert reader.recreated == {topic}
