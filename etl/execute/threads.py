"""Batches decoded and landed in threads, beside the reading of later ones."""

from dataclasses import dataclass

from etl.records import Batch, Decoded, LandedFile, SpanCount
from etl.schema.types import TopicSchema

# Batches between reading and the checkpoint: one is decoded while the one before is written.
IN_FLIGHT = 2

# Threads that parse pieces of one batch side by side; Arrow parses without the interpreter.
DECODERS = 2


@dataclass(frozen=True, slots=True)
class Read:
    """A decoded batch; of the batch itself all but its messages is left."""

    batch: Batch
    decoded: Decoded
    schema: TopicSchema


@dataclass(frozen=True, slots=True)
class Landed:
    """A batch that is on disk, and what became of it."""

    batch: Batch
    schema: TopicSchema
    files: list[LandedFile]
    counts: tuple[SpanCount, ...]
