"""Decode and land batches in threads, while the caller reads the next ones."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Self

from etl.records import Batch, Decoded, LandedFile, SpanCount, utc_now
from etl.schema.types import EMPTY, TopicSchema
from etl.schema.wishes import NO_WISHES, Wishes

# Batches between reading and the checkpoint: one is decoded while the one before is written.
IN_FLIGHT = 2

# Threads that parse pieces of one batch side by side; Arrow parses without the interpreter.
PARSERS = 2


@dataclass(frozen=True, slots=True)
class Landed:
    """A batch on disk; `batch` has no messages any more, to free memory."""

    batch: Batch
    schema: TopicSchema
    files: list[LandedFile]
    counts: tuple[SpanCount, ...]


class Pipeline:
    """Batches on their way to disk; they land in the order in which they were submitted.

    Each attribute belongs to one thread, and no other thread touches it after the start:

    - the caller's: `_landings`, the batches under way;
    - the decoder's: `_schemas`, each topic's schema after the last batch that it decoded;
    - the writer's: `_next_file`, the number of the next file.

    The parsers see only the messages that the decoder hands them. What all batches have in common
    (lake, run, topic ids, start of the night, wishes) never changes.
    """

    def __init__(
        self,
        lake: Path,
        run_id: str,
        lake_id: str,
        topic_ids: Mapping[str, str | None],
        night_starts: timedelta,
        schemas: Mapping[str, TopicSchema],
        wishes: Mapping[str, Wishes],
    ) -> None:
        self._lake, self._run_id, self._lake_id = lake, run_id, lake_id
        self._topic_ids, self._night_starts = topic_ids, night_starts
        self._wishes = wishes
        self._landings: deque[Future[Landed]] = deque()
        self._schemas = dict(schemas)
        self._next_file = 1
        self._parsers = ThreadPoolExecutor(PARSERS, thread_name_prefix="parse")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="land")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for threads in (self._writer, self._decoder, self._parsers):
            threads.shutdown()

    @property
    def is_empty(self) -> bool:
        """Whether all that was submitted has been taken."""
        return not self._landings

    def submit(self, batch: Batch, checkpoint: int) -> None:
        """Start to decode and land a batch, whose files the named checkpoint will register."""
        decoding = self._decoder.submit(self._decode, batch)
        self._landings.append(self._writer.submit(self._land, decoding, checkpoint))

    def take(self, leave: int = 0) -> Iterator[Landed]:
        """Yield landed batches, and wait for them, until at most `leave` are under way."""
        while len(self._landings) > leave:
            yield self._landings.popleft().result()

    def _decode(self, batch: Batch) -> tuple[Batch, Decoded, TopicSchema]:
        from etl.decode.batch import decode_batch  # noqa: PLC0415 - a run without news does not pay

        known = self._schemas.get(batch.topic, EMPTY)
        wishes = self._wishes.get(batch.topic, NO_WISHES)
        decoded, schema = decode_batch(batch, known, self._parsers, wishes)
        self._schemas[batch.topic] = schema
        rest = replace(batch, partitions=[], offsets=[], timestamps_ms=[], values=[])
        return rest, decoded, schema

    def _land(
        self, decoding: Future[tuple[Batch, Decoded, TopicSchema]], checkpoint: int
    ) -> Landed:
        from etl.lake.land import Stamp, land  # noqa: PLC0415 - the same

        batch, decoded, schema = decoding.result()
        stamp = Stamp(
            run_id=self._run_id,
            checkpoint=checkpoint,
            topic=batch.topic,
            topic_id=self._topic_ids[batch.topic],
            incarnation=batch.incarnation,
            schema_version=schema.version,
            ingested_at=utc_now(),
            night_starts=self._night_starts,
            first_file=self._next_file,
            spans=batch.spans,
            lake_id=self._lake_id,
        )
        files = land(decoded, stamp, self._lake)
        self._next_file += len(files)
        return Landed(batch, schema, files, decoded.counts)
