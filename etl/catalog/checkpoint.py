"""What a checkpoint writes, in one transaction.

1. The topics and partitions that this run met.
2. Files, spans and gaps.
3. The offsets, which must still be where this run found them.
4. New columns, and the views whose definition changed.
5. The run's state and figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from etl.catalog.database import Catalog
from etl.catalog.define import define_views
from etl.catalog.known import known_columns
from etl.catalog.runs import update_run
from etl.errors import OffsetsMoved
from etl.records import Figures, Gap, LandedFile, LastRecord, Position, RunState, Span, SpanCount
from etl.schema.columns import to_columns
from etl.schema.types import TopicSchema

# The fields of `LastRecord`, for offsets without a message.
NO_RECORD = dict.fromkeys(("offset", "timestamp_ms", "digest"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that one transaction makes visible.

    `topic_ids` are the topics met, with the broker's ids of their incarnations; `cluster_id` and
    `bootstrap_servers` say where; `new` are the partitions that the lake meets for the first time.
    """

    run_id: str
    number: int
    now: datetime
    incarnations: Mapping[str, int]
    topic_ids: Mapping[str, str | None]
    cluster_id: str | None = None
    bootstrap_servers: str | None = None
    new: Sequence[Position] = ()
    files: Sequence[LandedFile] = ()
    counts: Sequence[SpanCount] = ()
    gaps: Sequence[Gap] = ()
    last: Mapping[tuple[str, int], LastRecord] = field(default_factory=dict)
    schemas: Mapping[str, TopicSchema] = field(default_factory=dict)


def checkpoint(
    catalog: Catalog, step: Checkpoint, figures: Figures, state: RunState, root: Path
) -> list[str]:
    """Make one step of a run visible, whole or not at all.

    Returns
    -------
    list of str
        The paths of missing files, which the views of this step's topics leave out.

    Raises
    ------
    OffsetsMoved
        Another writer has moved an offset since this run read it; nothing is registered.
    """
    mark = {"run_id": step.run_id, "checkpoint": step.number}
    counts = _joined(step.counts)
    with catalog.transaction():
        # 1. topics and partitions
        _meet(catalog, step)
        # 2. files, spans and gaps
        catalog.write("register/insert_file", [asdict(file) | mark for file in step.files])
        catalog.write("register/insert_span", [_row(count, mark) for count in counts])
        found = mark | {"found_at": step.now}
        catalog.write("register/insert_gap", [_row(gap, found) for gap in step.gaps])
        # 3. offsets
        _advance(catalog, step, [count.span for count in counts])
        # 4. columns and views
        _learn(catalog, step)
        topics = {file.topic for file in step.files} | set(step.topic_ids)
        missing = define_views(catalog, topics, root)
        # 5. the run
        update_run(catalog, step.run_id, figures, state)
    return missing


@dataclass(frozen=True, slots=True)
class Replacement:
    """Files of a compaction, and the paths of those that they replace."""

    run_id: str
    number: int
    now: datetime
    files: Sequence[LandedFile]
    retired: Sequence[str]


def replace_files(
    catalog: Catalog, step: Replacement, figures: Figures, state: RunState, root: Path
) -> None:
    """Replace old files by new ones, in one transaction; spans and offsets do not change.

    Raises
    ------
    OffsetsMoved
        Another writer has replaced one of the old files; nothing is registered.
    """
    mark: dict[str, object] = {"run_id": step.run_id, "checkpoint": step.number}
    with catalog.transaction():
        found = catalog.rows("register/retire_files", paths=list(step.retired), now=step.now)
        if len(found) != len(step.retired):
            raise OffsetsMoved(
                f"{len(step.retired) - len(found)} of {len(step.retired)} files to replace are "
                f"not live; another writer has been here, run again"
            )
        catalog.write("register/insert_file", [asdict(file) | mark for file in step.files])
        define_views(catalog, {file.topic for file in step.files}, root)
        update_run(catalog, step.run_id, figures, state)


def _joined(counts: Sequence[SpanCount]) -> list[SpanCount]:
    """Join the spans of a partition that follow each other without a hole."""
    joined: dict[tuple[str, int, int, int], SpanCount] = {}
    for count in sorted(counts, key=lambda c: c.span.start):
        span, whole = count.span, count
        before = joined.pop((span.topic, span.incarnation, span.partition, span.start), None)
        if before is not None:
            whole = SpanCount(
                replace(span, start=before.span.start),
                before.alerts + count.alerts,
                before.rejects + count.rejects,
                before.tombstones + count.tombstones,
                before.absent + count.absent,
            )
        joined[span.topic, span.incarnation, span.partition, span.end] = whole
    return list(joined.values())


def _meet(catalog: Catalog, step: Checkpoint) -> None:
    source = {"cluster_id": step.cluster_id, "bootstrap_servers": step.bootstrap_servers}
    for topic, topic_id in step.topic_ids.items():
        key = {"topic": topic, "incarnation": step.incarnations[topic]}
        met = key | source | {"topic_id": topic_id, "now": step.now}
        catalog.write("register/see_topic", [met])
        catalog.write("register/set_current", [key])
    for p in step.new:
        place = {"topic": p.topic, "incarnation": p.incarnation, "partition": p.partition}
        catalog.write("register/start_partition", [place | {"first": p.expected}])


def _row(of_span: SpanCount | Gap, mark: Mapping[str, object]) -> dict[str, Any]:
    row = asdict(of_span)
    return {**row.pop("span"), **row, **mark}


def _advance(catalog: Catalog, step: Checkpoint, read: Sequence[Span]) -> None:
    """Move each partition's offset along its spans and gaps, which must leave no hole."""
    for span in sorted([*read, *(gap.span for gap in step.gaps)], key=astuple):
        last = step.last.get((span.topic, span.partition))
        is_inside = last is not None and span.start <= last.offset < span.end
        record = asdict(last) if last is not None and is_inside else NO_RECORD
        if not catalog.rows("register/advance_offset", **asdict(span), **record):
            raise OffsetsMoved(
                f"{span.topic}[{span.partition}]: the catalog is not at {span.start}, where this "
                f"run began to read; another writer has been here, run again"
            )


def _learn(catalog: Catalog, step: Checkpoint) -> None:
    known = known_columns(catalog)
    for topic, schema in step.schemas.items():
        before = set(known[topic])
        rows = [asdict(column) for column in to_columns(schema, before) if column not in before]
        if rows:
            lists = {name: [row[name] for row in rows] for name in rows[0]}
            catalog.write("register/insert_columns", [lists | {"topic": topic}])
