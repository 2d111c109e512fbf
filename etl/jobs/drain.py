"""One run, in order:

1. take the lock;
2. open the catalog, clean up after killed runs, publish if the public copy is behind;
3. find each topic's incarnation, and where each partition starts;
4. consume in batches;
5. decode and land each batch;
6. checkpoint: register, publish, mirror the offsets;
7. stop when every partition has reported its end and the stream has fallen silent;
8. compact the nights that are over, where that pays: the alerts are safe by now.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from etl.catalog import runs
from etl.catalog.checkpoint import Checkpoint, checkpoint
from etl.catalog.database import Catalog
from etl.catalog.known import known_schemas, known_topics
from etl.config.settings import Settings
from etl.config.topics import check_case
from etl.errors import EtlError, gravest
from etl.execute.threads import IN_FLIGHT, Landed, Pipeline
from etl.jobs import findings
from etl.jobs.compact import AUTOMATIC_S, Compacted, compact_open
from etl.jobs.findings import Finding, Findings
from etl.jobs.recover import open_recovered, record_failure
from etl.kafka.client import Client, connect
from etl.kafka.plan import group_offsets, plan_topics
from etl.kafka.reader import Limits, Reader
from etl.kafka.recognition import check_absent
from etl.lake.layout import check_catalog, check_path, lake_at, view_root
from etl.lake.local import locked
from etl.records import (
    Figures,
    Gap,
    LandedFile,
    LastRecord,
    Partition,
    Position,
    RunState,
    SpanCount,
    TopicPlan,
    new_run_id,
    utc_now,
)
from etl.schema.types import EMPTY, TopicSchema

log = logging.getLogger(__name__)
CHECKPOINT_S = 60.0
Progress = Callable[[Figures, int | None], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its figures, its exit code, and the sentences that explain it."""

    run_id: str
    exit_code: int
    figures: Figures
    stopped: str
    notes: tuple[str, ...] = ()
    compacted: Compacted | None = None


def drain(
    settings: Settings,
    progress: Progress = lambda _figures, _lag: None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Carry all new alerts of the topics into the lake.

    Raises
    ------
    EtlError
        The world is broken: what had been checkpointed is safe, the rest is read again.
    """
    lake = lake_at(settings.lake)
    check_path(settings.public_root or lake.root)
    # 1. Take the lock.
    with locked(lake):
        check_catalog(lake)
        now, root = utc_now(), view_root(settings.public_root, lake)
        # 2. Open the catalog, and clean up after killed runs.
        with closing(open_recovered(lake, root, now)) as catalog:
            run = Run(settings, catalog, root, progress, asked_to_stop, now, new_run_id(now))
            return run.compact(run.execute())


@dataclass(slots=True)
class _Pending:
    """What has been landed since the last checkpoint."""

    new: list[Position] = field(default_factory=list)
    files: list[LandedFile] = field(default_factory=list)
    counts: list[SpanCount] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    last: dict[Partition, LastRecord] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """The state of one drain between its steps; it belongs to the thread that drains."""

    settings: Settings
    catalog: Catalog
    root: Path
    progress: Progress
    asked_to_stop: Callable[[], bool]
    now: datetime
    run_id: str
    started: float = field(default_factory=time.monotonic)
    checkpointed: float = field(default_factory=time.monotonic)
    landed: Figures = field(default_factory=Figures)
    findings: Findings = field(default_factory=Findings)
    pending: _Pending = field(default_factory=_Pending)
    plans: dict[str, TopicPlan] = field(default_factory=dict)
    schemas: dict[str, TopicSchema] = field(default_factory=dict)
    to_mirror: dict[Partition, int] = field(default_factory=dict)
    files_missing: bool = False
    announced: bool = False

    def execute(self) -> Outcome:
        """Go through the steps 2 to 7; where the world is broken, record a failed run."""
        self.begin()
        try:
            with connect(self.settings) as client:
                reader = self.plan(client)
                self.read(client, reader)
                return self.finish(client, reader)
        except EtlError as error:
            # A gap is reported only once, so its exit code must not get lost.
            error.exit_code = gravest([self.findings.exit_code, error.exit_code])
            record_failure(self.catalog, self.run_id, self.figures, error)
            raise

    def begin(self) -> None:
        """Record this run as open, and find what is odd after the last one."""
        group, night_starts = self.settings.group_id, self.settings.night_starts
        pid, host = os.getpid(), socket.gethostname()
        for (before,) in self.catalog.rows("queries/last_start"):
            self.findings.add(*findings.clock_went_back(before, self.now))
        for (hours,) in self.catalog.rows("queries/last_night_starts"):
            self.findings.add(*findings.changed_nights(timedelta(hours=hours), night_starts))
        self.findings.add(*findings.unverified_broker(self.settings.kafka))
        runs.open_run(self.catalog, self.run_id, self.now, group, host, pid, night_starts)

    def plan(self, client: Client) -> Reader:
        """Find where to start, and return the reader that starts there."""
        # 3. Find each topic's incarnation, and where each partition starts.
        known = known_topics(self.catalog)
        topics = self.settings.topics
        check_case([*topics, *(topic for topic in known if topic not in topics)])
        decision = self.settings.cluster_changed
        self.plans = plan_topics(client, topics, known, decision)
        missing = [topic for topic in topics if topic not in self.plans]
        check_absent(client, missing, known, decision)
        names = client.topics.names() if missing else []
        self.findings.add(*findings.missing_topics(missing, names))
        self.findings.add(*findings.new_starts(self.plans))
        positions = [p for plan in self.plans.values() for p in plan.positions]
        self.to_mirror, moved = group_offsets(client, positions)
        self.findings.add(*findings.moved_group(self.settings.group_id, moved))
        self.pending.new = [position for position in positions if position.is_new]
        self.pending.gaps = [gap for plan in self.plans.values() for gap in plan.gaps]
        self.schemas = known_schemas(self.catalog)
        limits = Limits(
            poll_timeout_s=self.settings.poll_timeout.total_seconds(),
            connect_timeout_s=self.settings.connect_timeout.total_seconds(),
            max_messages=self.settings.max_messages,
            max_seconds=self.settings.max_seconds.total_seconds(),
            flush_s=CHECKPOINT_S,
        )
        return Reader(client, positions, limits, self.topic_ids, self.asked_to_stop)

    def read(self, client: Client, reader: Reader) -> None:
        """Go through the stream, with a checkpoint at least each minute."""
        lake, night_starts = self.catalog.lake.root, self.settings.night_starts
        own, ids = (lake, self.run_id, self.catalog.lake_id()), self.topic_ids
        with Pipeline(*own, ids, night_starts, self.schemas, self.settings.topic) as pipeline:
            # 4. Consume in batches; after None all that has come so far is here.
            for batch in reader.batches():
                self.add(pipeline.take(IN_FLIGHT - 1))
                self.progress(self.figures, reader.lag())
                due = batch is None or time.monotonic() - self.checkpointed >= CHECKPOINT_S
                if due and not (pipeline.is_empty and self.pending == _Pending()):
                    self.add(pipeline.take())
                    self.checkpoint(client, reader, RunState("open"))
                if batch is not None:
                    self.announce()
                    # 5. Decode and land it, while the next ones are read.
                    pipeline.submit(batch, self.landed.checkpoints + 1)
                del batch  # its memory goes as soon as it is decoded
            self.add(pipeline.take())

    def announce(self) -> None:
        """Publish that this run is open before its first file, so that `verify` knows it."""
        if not self.announced:
            self.catalog.publish()
        self.announced = True

    def add(self, landed: Iterable[Landed]) -> None:
        """Keep landed batches for the next checkpoint."""
        for each in landed:
            topic, pending = each.batch.topic, self.pending
            before = self.schemas.get(topic, EMPTY)
            self.findings.add(*findings.keys_that_are_data(topic, before, each.schema))
            self.schemas[topic] = each.schema
            pending.files += each.files
            pending.counts += each.counts
            pending.gaps += each.batch.gaps
            pending.last.update({(topic, p): last for p, last in each.batch.last.items()})
            self.landed = self.landed.with_landed(each.files, each.counts)

    def checkpoint(self, client: Client, reader: Reader, state: RunState) -> None:
        """Make what was landed visible."""
        # 6. Register in one transaction, publish, mirror the offsets.
        pending, self.pending = self.pending, _Pending()
        self.findings.add(*findings.lost_offsets(pending.gaps))
        self.landed = replace(
            self.figures,
            checkpoints=self.landed.checkpoints + 1,
            lost=self.landed.lost + sum(gap.span.end - gap.span.start for gap in pending.gaps),
            lag=reader.lag(),
        )
        self.register(pending, reader.restarted, state)
        self.catalog.publish()
        spans = [count.span for count in pending.counts] + [gap.span for gap in pending.gaps]
        for span in sorted(spans, key=lambda each: each.end):
            self.to_mirror[span.topic, span.partition] = span.end
        self.mirror(client, reader.recreated)
        self.checkpointed = time.monotonic()

    def register(
        self, pending: _Pending, restarted: Mapping[Partition, int], state: RunState
    ) -> None:
        """Write one checkpoint into the catalog; `restarted` partitions begin elsewhere."""
        step = Checkpoint(
            run_id=self.run_id,
            number=self.landed.checkpoints,
            now=utc_now(),
            incarnations={topic: plan.incarnation for topic, plan in self.plans.items()},
            topic_ids=self.topic_ids,
            cluster_id=next((plan.cluster_id for plan in self.plans.values()), None),
            bootstrap_servers=self.settings.bootstrap_servers,
            new=[_moved(position, restarted) for position in pending.new],
            files=pending.files,
            counts=pending.counts,
            gaps=pending.gaps,
            last=pending.last,
            schemas={t: self.schemas[t] for t in self.plans if t in self.schemas},
        )
        if state.state == "done":
            code, message = self.findings.exit_code, self.findings.message
            state = replace(state, ended_at=step.now, exit_code=code, message=message)
        missing = checkpoint(self.catalog, step, self.landed, state, self.root)
        if not missing:
            return
        if not self.files_missing:
            self.findings.add(findings.missing_files(missing))
            self.files_missing = True
        if state.state == "done":
            code, message = self.findings.exit_code, self.findings.message
            state = replace(state, exit_code=code, message=message)
        with self.catalog.transaction():
            runs.update_run(self.catalog, self.run_id, self.landed, state)

    def mirror(self, client: Client, recreated: set[str]) -> None:
        """Commit the offsets to the group, but for topics that are not the same any more."""
        same = {key: end for key, end in self.to_mirror.items() if key[0] not in recreated}
        if reason := client.mirror.commit(same):
            log.warning(
                "offsets could not be mirrored to the group (%s); no alert depends on it", reason
            )
        else:
            self.to_mirror = {}

    def finish(self, client: Client, reader: Reader) -> Outcome:
        """Find why reading stopped, and close the run."""
        # 7. Stop, with a last checkpoint.
        patience = min(self.settings.connect_timeout, self.settings.max_seconds)
        self.findings.add(
            *findings.end_of_reading(reader, patience.total_seconds()),
            *findings.too_many_rejects(self.landed, self.settings.max_reject_percent),
        )
        self.checkpoint(client, reader, RunState("done"))
        code, notes = self.findings.exit_code, self.findings.sentences
        return Outcome(self.run_id, code, self.figures, str(reader.stopped), notes)

    def compact(self, outcome: Outcome) -> Outcome:
        """Compact unless the run was asked to stop; a failure does not undo the drain."""
        # 8. Compact the nights that are over.
        if outcome.stopped == "asked":
            return outcome
        seconds = AUTOMATIC_S if self.settings.compact else 0.0
        done = Compacted()
        try:
            done = compact_open(self.catalog, self.settings, self.root, seconds, self.asked_to_stop)
        except EtlError as error:
            self.findings.add(findings.failed_compaction(error))
        self.findings.found += [Finding(done.exit_code, note) for note in done.notes]
        return replace(
            outcome,
            exit_code=self.findings.exit_code,
            notes=self.findings.sentences,
            compacted=done if done.files_before or done.deleted or done.left else None,
        )

    @property
    def figures(self) -> Figures:
        """The run so far, with its duration."""
        return replace(self.landed, seconds=round(time.monotonic() - self.started, 3))

    @property
    def topic_ids(self) -> dict[str, str | None]:
        """The broker's id of each topic's planned incarnation."""
        return {topic: plan.topic_id for topic, plan in self.plans.items()}


def _moved(position: Position, restarted: Mapping[Partition, int]) -> Position:
    """Return a new partition's position, where its reading really began."""
    start = restarted.get((position.topic, position.partition))
    return position if start is None else replace(position, expected=start, start=start)
