"""Whether a topic is still the incarnation that was planned, and where that ended if not.

A message does not prove which incarnation it came from: when a topic is deleted and recreated
while it is read, the broker's answers go on at the old offset in the new log. But ids never come
back: while the broker gives the planned id, all that was read before is of that incarnation.
"""

from collections.abc import Sequence

from etl.errors import BrokerUnreachable
from etl.kafka.client import Client
from etl.kafka.fetch import read_records
from etl.kafka.progress import Clock, TopicProgress
from etl.records import Gap

# The topics' ids are asked for this often while messages are held back.
PROOF_S = 1.0

# The answer may take this long, and a topic that seems to be gone is asked for again this long.
PROOF_TIMEOUT_S = 5.0
PATIENCE_S = 0.2


class Identity:
    """Questions about the incarnation of topics; `asked` is when the last one was."""

    def __init__(self, client: Client, connect_timeout_s: float, clock: Clock) -> None:
        self.client = client
        self.timeout_s = min(PROOF_TIMEOUT_S, connect_timeout_s)
        self.clock = clock
        self.asked = clock.now()

    def prove(self, topics: Sequence[TopicProgress]) -> bool:
        """Find which topics are still the planned incarnation, and end the others.

        What was read of the former is proven then, and so is what was read of topics whose
        broker gives no ids. Returns False, and changes nothing, where the broker does not answer.
        """
        topics = [each for each in topics if not each.is_ended]
        asked = [each.topic for each in topics if each.topic_id is not None]
        # Only the ends that are known before the question are surely of this incarnation.
        partitions = [partition for each in topics for partition in each.partitions.values()]
        highs = {each.key: self.client.seen_high(*each.key) or 0 for each in partitions}
        self.asked = self.clock.now()
        try:
            ids = self._ids(asked)
        except BrokerUnreachable:
            return False
        for each in topics:
            if each.topic_id is None or ids.get(each.topic) == each.topic_id:
                each.prove(highs)
            else:
                self.end(each, is_gone=each.topic not in ids)
        return True

    def end(self, topic: TopicProgress, *, is_gone: bool) -> None:
        """Read no further in a topic whose planned incarnation was deleted."""
        topic.is_ended, topic.is_gone = True, is_gone
        for each in topic.partitions.values():
            each.is_pending = False
        self.client.leave([each.key for each in topic.partitions.values()])

    def end_of(self, topic: TopicProgress) -> tuple[dict[int, int], tuple[Gap, ...]]:
        """Return where the messages of a deleted incarnation end, and what is lost with it.

        A message that the new incarnation has too, at the same offset with the same time and
        value, is read again in the next run; everything before the first such message is of the
        deleted one. Where the new incarnation does not answer, only what is proven is kept, and
        the rest is a gap.
        """
        ends = topic.proven
        doubtful = {
            each.key: each.proven
            for each in topic.partitions.values()
            if each.proven < each.position and not topic.is_gone
        }
        positions = {each.key: each.position for each in topic.partitions.values()}
        found, unanswered = read_records(self.client, doubtful, positions, self.clock)
        is_new = {partition for _, partition in unanswered}
        buffer = topic.buffer
        for partition, offset, *message in zip(
            buffer.partitions, buffer.offsets, buffer.timestamps_ms, buffer.values, strict=True
        ):
            if offset < topic.partitions[partition].proven or partition in is_new:
                continue
            if found.get((topic.topic, partition, offset)) == tuple(message):
                is_new.add(partition)
            else:
                ends[partition] = offset + 1
        gaps = []
        for number, each in topic.partitions.items():
            high = max(each.seen_high, each.position if each.key in unanswered else 0)
            if high > ends[number]:
                reason = "the topic was deleted before it was read to its end"
                gaps.append(Gap(topic.span(number, ends[number], high), reason))
        return ends, tuple(gaps)

    def _ids(self, topics: Sequence[str]) -> dict[str, str | None]:
        """Return the topics' ids; a broker that has just started may not know a topic yet."""
        ids = self.client.topics.ids(topics, self.timeout_s)
        until = self.clock.now() + self.timeout_s
        while len(ids) < len(topics) and self.clock.now() < until:
            self.clock.wait(PATIENCE_S)
            missing = [topic for topic in topics if topic not in ids]
            ids |= self.client.topics.ids(missing, self.timeout_s)
        return ids
