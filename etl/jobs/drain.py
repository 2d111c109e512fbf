"""One run, in order:

1. take the lock;
2. open the catalog, tidy up after killed runs, publish if the public copy is behind;
3. find each topic's life, and where each partition starts;
4. consume in batches;
5. decode and land each batch;
6. checkpoint: register, publish, mirror the offsets;
7. stop when every partition has reported its end and the stream has fallen silent;
8. compact the nights that are over, where that pays: the alerts are safe by now.
"""

import difflib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from etl.catalog import runs
from etl.catalog.checkpoint import Checkpoint, checkpoint
from etl.catalog.known import known_schemas, known_topics
from etl.config.settings import Settings
from etl.config.topics import check_case
from etl.errors import DATA_AT_RISK, TRY_LATER, DataAtRisk, EtlError, LakeNotWritable, gravest
from etl.execute.threads import DECODERS, IN_FLIGHT, Landed, Read
from etl.jobs.compact import AUTOMATIC_S, compact_open
from etl.jobs.findings import Outcome, listed
from etl.jobs.recover import open_tidy, record_failure
from etl.kafka.client import Client, connect
from etl.kafka.codes import DAMAGED
from etl.kafka.plan import group_offsets, plan_topics
from etl.kafka.reader import Limits, Reader
from etl.lake.layout import Lake, check_catalog, check_path, view_root
from etl.lake.local import locked
from etl.records import (
    Batch,
    Figures,
    Gap,
    KnownTopic,
    LandedFile,
    LastRecord,
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


@dataclass(slots=True)
class _Pending:
    """What has been landed since the last checkpoint."""

    new: list[Position] = field(default_factory=list)
    files: list[LandedFile] = field(default_factory=list)
    counts: list[SpanCount] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    last: dict[tuple[str, int], LastRecord] = field(default_factory=dict)


def drain(
    settings: Settings,
    progress: Callable[[Figures, int | None], None] = lambda _figures, _lag: None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Carry all new alerts of the topics into the lake.

    Raises
    ------
    EtlError
        The world is broken: what had been checkpointed is safe, the rest is read again.
    """
    lake = Lake(settings.lake.resolve())
    check_path(settings.public_root or lake.root)
    with locked(lake):
        check_catalog(lake)
        return _Run(settings, lake, progress, asked_to_stop).execute()


class _Run:
    """The state of one drain between its steps."""

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        progress: Callable[[Figures, int | None], None],
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.lake = lake
        self.root = view_root(settings.public_root, lake)
        self.progress = progress
        self.asked_to_stop = asked_to_stop
        self.started = time.monotonic()
        self.now = utc_now()
        self.run_id = new_run_id(self.now)
        self.figures = Figures()
        self.notes: list[str] = []
        self.codes: list[int] = []
        self.pending = _Pending()
        self.checkpointed = self.started
        self.plans: dict[str, TopicPlan] = {}
        self.schemas: dict[str, TopicSchema] = {}
        self.learnt: dict[str, TopicSchema] = {}
        self.next_file = 1
        self.to_mirror: dict[tuple[str, int], int] = {}
        self.said_gone = False

    def execute(self) -> Outcome:
        """Go through the steps; a broken world is recorded as a failed run."""
        self.catalog = open_tidy(self.lake, self.root, self.now)
        try:
            self._open()
            try:
                outcome = self._drain()
            except EtlError as error:
                error.exit_code = gravest([*self.codes, error.exit_code])  # a gap is said once
                record_failure(self.catalog, self.run_id, self._figures(), error)
                raise
            return self._compact(outcome)
        finally:
            self.catalog.close()

    def _open(self) -> None:
        runs.open_run(
            self.catalog,
            self.run_id,
            self.now,
            self.settings.group_id,
            socket.gethostname(),
            os.getpid(),
        )

    def _drain(self) -> Outcome:
        known = known_topics(self.catalog)
        check_case([*self.settings.topics, *(t for t in known if t not in self.settings.topics)])
        with connect(self.settings) as client:
            self.plans = plan_topics(client, self.settings.topics, known)
            self._say_plan(client, known)
            self.schemas = known_schemas(self.catalog)
            positions = [p for topic in self.plans.values() for p in topic.positions]
            self.to_mirror, moved = group_offsets(client, positions)
            if moved:
                self._note(
                    f"the group {self.settings.group_id} is not where the lake is, so another "
                    f"program uses it or a run was killed; the lake's offsets count "
                    f"({listed(moved)})"
                )
            self.pending.new = [position for position in positions if position.is_new]
            self.pending.gaps = [gap for topic in self.plans.values() for gap in topic.gaps]
            ids = {topic: planned.topic_id for topic, planned in self.plans.items()}
            reader = Reader(client, positions, limits_of(self.settings), ids, self.asked_to_stop)
            self.learnt = dict(self.schemas)
            with (
                ThreadPoolExecutor(DECODERS, thread_name_prefix="parse") as self.parsers,
                ThreadPoolExecutor(1, thread_name_prefix="decode") as decoder,
                ThreadPoolExecutor(1, thread_name_prefix="land") as writer,
            ):
                landings: deque[Future[Landed]] = deque()
                for batch in reader.batches():
                    self._take(landings, IN_FLIGHT - 1)
                    self.progress(self._figures(), reader.lag())
                    due = batch is None or time.monotonic() - self.checkpointed >= CHECKPOINT_S
                    if due and (landings or self.pending != _Pending()):
                        self._take(landings, 0)
                        self._checkpoint(client, reader, RunState("open"))
                    if batch is None:
                        continue
                    decoding = decoder.submit(self._decode, batch)
                    landings.append(writer.submit(self._land, decoding))
                    del batch, decoding  # its memory goes as soon as it is decoded
                self._take(landings, 0)
            return self._finish(client, reader)

    def _decode(self, batch: Batch) -> Read:
        """Step 5, first half, beside the reading of later batches and the writing of earlier."""
        from etl.decode.batch import decode_batch  # noqa: PLC0415 - a run without news does not pay for it

        known = self.learnt.get(batch.topic, EMPTY)
        decoded, schema = decode_batch(batch, known, self.parsers)
        self.learnt[batch.topic] = schema
        rest = replace(batch, partitions=[], offsets=[], timestamps_ms=[], values=[])
        return Read(rest, decoded, schema)

    def _land(self, decoding: Future[Read]) -> Landed:
        """Step 5, second half: one batch after the other, so that the files are numbered."""
        from etl.lake import land  # noqa: PLC0415 - the same

        read = decoding.result()
        batch = read.batch
        stamp = land.Stamp(
            run_id=self.run_id,
            checkpoint=self.figures.checkpoints + 1,
            topic=batch.topic,
            topic_id=self.plans[batch.topic].topic_id,
            incarnation=batch.incarnation,
            schema_version=read.schema.version,
            ingested_at=utc_now(),
            night_starts=self.settings.night_starts,
            first_file=self.next_file,
            spans=batch.spans,
        )
        files = land.land(read.decoded, stamp, self.lake.root)
        self.next_file += len(files)
        return Landed(batch, read.schema, files, read.decoded.counts)

    def _take(self, landings: deque[Future[Landed]], most: int) -> None:
        """Take up landed batches for the next checkpoint, until at most so many are under way."""
        while len(landings) > most:
            landed = landings.popleft().result()
            topic = landed.batch.topic
            self.schemas[topic] = landed.schema
            self.pending.files += landed.files
            self.pending.counts += landed.counts
            self.pending.gaps += landed.batch.gaps
            self.pending.last.update({(topic, p): last for p, last in landed.batch.last.items()})
            self._add_figures(landed.files, landed.counts)

    def _checkpoint(self, client: Client, reader: Reader, state: RunState) -> None:
        """Step 6: register in one transaction, publish, mirror the offsets."""
        pending, self.pending = self.pending, _Pending()
        restarted = reader.restarted
        new = [
            replace(p, expected=restarted[key], start=restarted[key])
            if (key := (p.topic, p.partition)) in restarted
            else p
            for p in pending.new
        ]
        lost = sum(gap.span.end - gap.span.start for gap in pending.gaps)
        self.figures = replace(
            self._figures(),
            checkpoints=self.figures.checkpoints + 1,
            lost=self.figures.lost + lost,
            lag=reader.lag(),
        )
        if lost:
            self.codes.append(DATA_AT_RISK)
        for gap in pending.gaps:
            self._note(
                f"{gap.span.topic}[{gap.span.partition}]: offsets {gap.span.start} to "
                f"{gap.span.end} are lost: {gap.reason}; drain more often"
            )
        step = Checkpoint(
            run_id=self.run_id,
            number=self.figures.checkpoints,
            now=utc_now(),
            incarnations={t: p.incarnation for t, p in self.plans.items()},
            topic_ids={t: p.topic_id for t, p in self.plans.items()},
            new=new,
            files=pending.files,
            counts=pending.counts,
            gaps=pending.gaps,
            last=pending.last,
            schemas={t: self.schemas[t] for t in self.plans if t in self.schemas},
        )
        if state.state == "done":
            state = replace(state, ended_at=step.now, exit_code=self._exit_code())
        gone = checkpoint(self.catalog, step, self.figures, state, self.root)
        if gone:
            state = self._say_gone(gone, state)
            with self.catalog.transaction():
                runs.update_run(self.catalog, self.run_id, self.figures, state)
        self.catalog.publish()
        self.to_mirror |= {
            (count.span.topic, count.span.partition): count.span.end
            for count in sorted(pending.counts, key=lambda c: c.span.end)
        }
        reason = client.mirror.commit(
            {key: end for key, end in self.to_mirror.items() if key[0] not in reader.recreated}
        )
        if not reason:
            self.to_mirror = {}
        else:
            log.warning(
                "offsets could not be mirrored to the group (%s); no alert depends on it", reason
            )
        self.checkpointed = time.monotonic()

    def _say_gone(self, gone: list[str], state: RunState) -> RunState:
        """Say once which of the lake's files are not there; give the state with that in it."""
        if not self.said_gone:
            self._note(
                f"{listed(gone, 1)}: not in the lake any more, so that the views are without it; "
                f"put it back, lasair-etl verify lists all"
            )
            self.codes.append(DATA_AT_RISK)
        self.said_gone = True
        if state.state != "done":
            return state
        return replace(state, exit_code=self._exit_code(), message="; ".join(self.notes))

    def _finish(self, client: Client, reader: Reader) -> Outcome:
        """Step 7: say why reading stopped, and close the run with a last checkpoint."""
        silent = reader.silent if reader.stopped in ("silent", "max_seconds") else []
        damaged = [key for key, (_, code) in reader.refused.items() if code in DAMAGED]
        for topic, partition in damaged:
            self.codes.append(DATA_AT_RISK)
            self._note(
                f"{topic}[{partition}]: can't be read from offset "
                f"{reader.position[topic, partition]} on ({reader.refused[topic, partition][0]}), "
                f"and what comes later waits behind it; ask the broker's operators"
            )
        silent = [key for key in silent if key not in damaged]
        if silent:
            self.codes.append(TRY_LATER)
            said = {reader.refused[key][0] for key in silent if key in reader.refused}
            self._note(
                f"{listed([f'{topic}[{p}]' for topic, p in silent])}: no answer within "
                f"{min(self.settings.connect_timeout, self.settings.max_seconds).total_seconds():g}"
                f" s"
                f"{''.join(f' ({each})' for each in sorted(said))}; what did arrive is stored"
            )
        if reader.stopped == "unproven":
            self.codes.append(TRY_LATER)
            self._note(
                "the broker fell silent before it could be asked whether the topics are still the "
                "same; what had been made sure of is stored, run again for the rest"
            )
        for topic in sorted(reader.recreated):
            self._note(f"{topic}: deleted while it was read; the next run reads its new life")
        if reader.stopped == "asked":
            self.codes.append(TRY_LATER)
            self._note("stopped on request; what did arrive is stored, run again for the rest")
        for topic, partition in sorted(reader.truncated):
            self.codes.append(DATA_AT_RISK)
            self._note(
                f"{topic}[{partition}]: the broker's log ends before what is already stored, so "
                f"it has lost alerts; ask its operators what happened"
            )
        figures = self._figures()
        total = figures.alerts + figures.rejects
        if figures.rejects * 100 > self.settings.max_reject_percent * total:
            self.codes.append(DATA_AT_RISK)
            self._note(
                f"{figures.rejects} of {total} messages could not be decoded; lasair-etl rejects "
                f"shows them"
            )
        self._checkpoint(client, reader, RunState("done", message="; ".join(self.notes) or None))
        return Outcome(
            self.run_id, self._exit_code(), self._figures(), str(reader.stopped), tuple(self.notes)
        )

    def _compact(self, outcome: Outcome) -> Outcome:
        """Step 8: a failure here is told; a full lake and a harmed file change the exit code."""
        if outcome.stopped == "asked":
            return outcome
        seconds = AUTOMATIC_S if self.settings.compact else 0.0
        try:
            done = compact_open(self.catalog, self.settings, self.root, seconds, self.asked_to_stop)
        except EtlError as error:
            self._note(f"not compacted: {error}")
            if isinstance(error, LakeNotWritable | DataAtRisk):
                self.codes.append(error.exit_code)
            return replace(outcome, exit_code=self._exit_code(), notes=tuple(self.notes))
        self.codes.append(done.exit_code)
        notes = (*outcome.notes, *done.notes)
        something = done.files_before or done.deleted or done.left
        return replace(
            outcome,
            exit_code=self._exit_code(),
            notes=notes,
            compacted=done if something else None,
        )

    def _say_plan(self, client: Client, known: Mapping[str, KnownTopic]) -> None:
        missing = [topic for topic in self.settings.topics if topic not in self.plans]
        names = client.topics.names() if missing else []
        for topic in missing:
            close = difflib.get_close_matches(topic, names, n=1, cutoff=0.8)
            hint = f"; did you mean {close[0]}?" if close else ""
            self._note(
                f"{topic}: no such topic yet (its filter may not have passed an alert){hint}"
            )
        for topic, planned in self.plans.items():
            if topic in known and planned.incarnation > known[topic].incarnation:
                self._note(f"{topic}: recreated; reading incarnation {planned.incarnation}")
            starts = [
                f"[{p.partition}] at {p.start}" for p in planned.positions if p.reason == "group"
            ]
            if starts:
                self._note(
                    f"{topic}: first drain into this lake; starting where the group has committed: "
                    f"{', '.join(starts)}"
                )

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        log.warning("%s", sentence)

    def _exit_code(self) -> int:
        return gravest(self.codes)

    def _figures(self) -> Figures:
        return replace(self.figures, seconds=round(time.monotonic() - self.started, 3))

    def _add_figures(self, files: list[LandedFile], counts: tuple[SpanCount, ...]) -> None:
        self.figures = replace(
            self.figures,
            alerts=self.figures.alerts + sum(count.alerts for count in counts),
            rejects=self.figures.rejects + sum(count.rejects for count in counts),
            tombstones=self.figures.tombstones + sum(count.tombstones for count in counts),
            absent=self.figures.absent + sum(count.absent for count in counts),
            files=self.figures.files + len(files),
            bytes=self.figures.bytes + sum(file.size_bytes for file in files),
        )


def limits_of(settings: Settings) -> Limits:
    """Turn the settings' durations into the reader's seconds."""
    return Limits(
        poll_timeout_s=settings.poll_timeout.total_seconds(),
        connect_timeout_s=settings.connect_timeout.total_seconds(),
        max_messages=settings.max_messages,
        max_seconds=settings.max_seconds.total_seconds(),
        flush_s=CHECKPOINT_S,
    )
