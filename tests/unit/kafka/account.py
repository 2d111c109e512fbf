"""What must be true of a drain's reading, checked against the broker's whole history."""

from itertools import chain

from etl.kafka.reader import StopReason
from etl.records import LastRecord, Position, digest
from tests.unit.kafka.schedule import Played
from tests.unit.kafka.world import Log

ROUNDING_S = 1e-6


def check(played: Played) -> None:
    """Check all that a reader promises; an AssertionError says what is broken."""
    for position in played.positions:
        _Partition(played, position).check()
    for batch in played.batches:
        _check_last(batch)
    if played.error is None:
        _check_stop(played)


class _Partition:
    """One partition as it was read, beside the log of the planned incarnation."""

    def __init__(self, played: Played, position: Position) -> None:
        self.played = played
        self.origin = position
        self.key = (position.topic, position.partition)
        mine = [each for each in played.world.incarnations if each.topic == position.topic]
        self.log: Log = mine[0].logs[position.partition]
        # Without ids, nobody can tell a new incarnation from the planned one while it is read.
        self.is_certain = played.world.has_ids or len(mine) == 1
        self.is_deleted = played.world.topics.get(position.topic) is not mine[0]
        self.where = f"{position.topic}[{position.partition}]"

    def check(self) -> None:
        end = self.check_pieces()
        self.check_flags()
        if self.played.error is None:
            self.check_end(end)

    def check_pieces(self) -> int:
        """Spans and gaps tile the offsets from the start on, and each message is in its span."""
        end = self.played.reader.restarted.get(self.key, self.origin.start)
        topic, number = self.key
        arrived: set[int] = set()
        for batch in self.played.batches:
            if batch.topic != topic:
                continue
            rows = [r for r, partition in enumerate(batch.partitions) if partition == number]
            given = {batch.offsets[r]: (batch.timestamps_ms[r], batch.values[r]) for r in rows}
            assert len(given) == len(rows), f"{self.where}: a message is given twice"
            spans = [span for span in batch.spans if span.partition == number]
            gaps = [gap for gap in batch.gaps if gap.span.partition == number]
            passed: set[int] = set()
            for span in sorted([*spans, *(gap.span for gap in gaps)], key=lambda s: s.start):
                assert (span.topic, span.incarnation) == (topic, 1)
                assert span.start == end, f"{self.where}: {span} does not follow {end}"
                assert span.end > span.start, f"{self.where}: {span} is empty"
                end = span.end
            for span in spans:
                passed |= set(range(span.start, span.end))
            assert given.keys() <= passed, f"{self.where}: a message outside the spans"
            arrived |= given.keys()
            if self.is_certain:
                self.check_messages(given, passed)
                self.check_gaps([(gap.span.end, gap.reason) for gap in gaps])
        if self.is_certain:
            self.check_received(arrived)
        return end

    def check_received(self, given: set[int]) -> None:
        """What had arrived of the planned incarnation is kept, as far as that can be told."""
        reader, world = self.played.reader, self.played.world
        if world.has_refused or self.played.error or reader.stopped == StopReason.MAX_MESSAGES:
            return
        new = world.topics.get(self.key[0])
        for polled in self.played.client.received.get(self.key, []):
            if polled.record is not self.log.records.get(polled.at):
                break
            same = new.logs[self.key[1]].records.get(polled.at) if new else None
            if self.is_deleted and same == polled.record:
                break
            assert polled.at in given, f"{self.where}: {polled.at} arrived and is not given"

    def check_messages(
        self, given: dict[int, tuple[int | None, bytes | None]], passed: set[int]
    ) -> None:
        """What is given is the planned incarnation's, and nothing is left out."""
        for offset in sorted(passed):
            assert offset < self.log.high, f"{self.where}: {offset} is beyond the end"
            record = self.log.records.get(offset)
            if offset in given:
                theirs = (record.timestamp_ms, record.value) if record else None
                assert given[offset] == theirs, f"{self.where}: {offset} is of another incarnation"
            else:
                assert record is None or offset in self.log.absent, (
                    f"{self.where}: {offset} is lost"
                )

    def check_gaps(self, gaps: list[tuple[int, str]]) -> None:
        """What is said to be lost is lost, and no more is said to be lost than there was."""
        for end, reason in gaps:
            if "dropped" in reason:
                assert end <= self.log.low, f"{self.where}: a gap up to {end} was not dropped"
            else:
                assert self.is_deleted, f"{self.where}: a gap of a topic that was not deleted"
                # Where the new incarnation does not answer, what was read last is in doubt.
                doubt = (
                    self.played.reader.position[self.key] if self.played.world.has_refused else 0
                )
                end_of_log = max(self.log.high, doubt)
                assert end <= end_of_log, f"{self.where}: a gap up to {end} is beyond the end"

    def check_flags(self) -> None:
        """What is reported of a partition or topic has happened."""
        reader, is_beyond = self.played.reader, self.origin.start > self.origin.end
        if not self.is_certain:
            return
        if self.key in reader.restarted:
            assert is_beyond, f"{self.where}: a restart without need"
            assert self.origin.reason == "group"
            assert reader.restarted[self.key] <= self.log.low, f"{self.where}: a restart elsewhere"
        if self.key in reader.truncated:
            assert is_beyond, f"{self.where}: called truncated"
            assert self.origin.reason != "group"
        if self.key[0] in reader.recreated:
            assert self.is_deleted, f"{self.where}: not recreated"

    def check_end(self, end: int) -> None:
        """Everything that the reader could know of is accounted for when it ends."""
        reader, client = self.played.reader, self.played.client
        if reader.stopped == StopReason.UNPROVEN or not self.is_certain:
            return
        if self.key[0] in reader.recreated:
            known = max(self.origin.end, client.promised.get(self.key, 0))
            assert end >= known, f"{self.where}: accounted to {end}, known to {known}"
        elif self.key not in reader.truncated:
            assert end == reader.position[self.key], f"{self.where}: read, but not handed on"
            if reader.stopped == StopReason.DRAINED:
                known = client.ends.get(self.key, -1)
                assert known >= 0, f"{self.where}: drained without a reported end"
                assert end >= known, f"{self.where}: accounted to {end}, ended at {known}"


def _check_last(batch) -> None:
    """`last` has the newest message of each partition."""
    rows = chain(
        zip(batch.partitions, batch.offsets, batch.timestamps_ms, batch.values, strict=True)
    )
    newest = {p: LastRecord(offset, stamp, digest(value)) for p, offset, stamp, value in rows}
    assert batch.last == newest


def _check_stop(played: Played) -> None:
    """The reason to stop is true."""
    reader, client, world, limits = played.reader, played.client, played.world, played.reader.limits
    match reader.stopped:
        case StopReason.DRAINED:
            quiet = world.listened - client.last_message + ROUNDING_S
            assert quiet >= limits.poll_timeout_s, "drained, but messages kept coming"
        case StopReason.SILENT:
            # A topic that was silent because it was deleted is named as that.
            assert reader.silent or reader.recreated, "silent, but nobody is named"
            for key in reader.silent:
                quiet = world.listened - client.progress.get(key, 0.0) + ROUNDING_S
                assert key not in client.ends, f"{key} is called silent but reported its end"
                assert quiet >= limits.connect_timeout_s, f"{key} is called silent too early"
        case StopReason.MAX_MESSAGES:
            assert reader.messages == limits.max_messages
        case StopReason.MAX_SECONDS:
            assert world.now >= limits.max_seconds
        case StopReason.ASKED:
            assert world.is_stop_wanted
        case StopReason.UNPROVEN:
            assert world.has_refused
        case None:
            raise AssertionError("no reason to stop")
