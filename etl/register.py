"""What a checkpoint writes: in one transaction files, spans, offsets, gaps, columns and views.

1. the topics and partitions that this run met;
2. files, spans and gaps;
3. the offsets, guarded: they must still be where this run found them;
4. new columns, and the views whose definition changed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path

from etl import sightings, views
from etl.catalog import Catalog
from etl.columns import Column, from_columns, to_columns
from etl.errors import OffsetsMoved
from etl.records import ALERTS, Gap, LandedFile, LastRecord, Position, Span, SpanCount
from etl.schema import EMPTY, TopicSchema, path_text
from etl.sqlfiles import Rows, sql_names, sql_text


@dataclass(frozen=True, slots=True)
class KnownTopic:
    """What the catalog knows of a topic's newest life."""

    topic: str
    incarnation: int
    topic_id: str | None
    next: Mapping[int, int]
    last: Mapping[int, LastRecord]


@dataclass(frozen=True, slots=True)
class Figures:
    """A run in numbers, as `etl.runs` keeps it."""

    checkpoints: int = 0
    alerts: int = 0
    rejects: int = 0
    tombstones: int = 0
    absent: int = 0
    lost: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands: open, done or failed."""

    state: str
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that one transaction makes visible.

    `topic_ids` are the topics met, with the broker's id of this life; `new` the partitions that
    the lake meets for the first time.
    """

    run_id: str
    number: int
    now: datetime
    incarnations: Mapping[str, int]
    topic_ids: Mapping[str, str | None]
    new: Sequence[Position] = ()
    files: Sequence[LandedFile] = ()
    counts: Sequence[SpanCount] = ()
    gaps: Sequence[Gap] = ()
    last: Mapping[tuple[str, int], LastRecord] = field(default_factory=dict)
    schemas: Mapping[str, TopicSchema] = field(default_factory=dict)


def known_topics(catalog: Rows) -> dict[str, KnownTopic]:
    """Read where every topic resumes."""
    lives = {
        topic: (life, topic_id) for topic, life, topic_id in catalog.rows("queries/known_topics")
    }
    offsets: dict[str, dict[int, int]] = {topic: {} for topic in lives}
    last: dict[str, dict[int, LastRecord]] = {topic: {} for topic in lives}
    for topic, _, partition, _, next_, seen, stamp, digest in catalog.rows("queries/known_offsets"):
        offsets[topic][partition] = next_
        if seen is not None:
            last[topic][partition] = LastRecord(seen, stamp, bytes(digest))
    return {
        topic: KnownTopic(topic, life, topic_id, offsets[topic], last[topic])
        for topic, (life, topic_id) in lives.items()
    }


def known_schemas(catalog: Rows) -> dict[str, TopicSchema]:
    """Read the learnt schema of every topic that the lake has met."""
    columns: dict[str, list[Column]] = {
        topic: [] for topic, _, _ in catalog.rows("queries/known_topics")
    }
    for topic, path, version, ordinal, kind, wide in catalog.rows("queries/known_columns"):
        columns.setdefault(topic, []).append(Column(path, version, ordinal, kind, wide))
    return {topic: from_columns(rows) for topic, rows in columns.items()}


def open_run(
    catalog: Catalog, run_id: str, now: datetime, group_id: str | None, host: str, pid: int
) -> None:
    """Record a run as open, before it writes its first file; a compaction has no group."""
    with catalog.transaction():
        catalog.write(
            "register/open_run",
            [{"run_id": run_id, "started_at": now, "group_id": group_id, "host": host, "pid": pid}],
        )


def close_killed_runs(catalog: Catalog, run_ids: Sequence[str], now: datetime) -> None:
    """Record that runs marked open were killed."""
    with catalog.transaction():
        catalog.write(
            "register/fail_run",
            [
                {"run_id": run_id, "ended_at": now, "message": "killed; the next run tidied up"}
                for run_id in run_ids
            ],
        )


def checkpoint(
    catalog: Catalog, step: Checkpoint, figures: Figures, state: RunState, root: Path
) -> list[str]:
    """Make one step of a run visible, whole or not at all.

    Returns
    -------
    list of str
        The paths of files that are gone: the views of this step's topics leave them out.

    Raises
    ------
    OffsetsMoved
        Another writer has moved an offset since this run read it; nothing is registered.
    """
    mark = {"run_id": step.run_id, "checkpoint": step.number}
    with catalog.transaction():
        catalog.write("register/see_topic", _topic_rows(step))
        catalog.write("register/start_partition", [_partition_row(p) for p in step.new])
        catalog.write("register/insert_file", [_file_row(file, mark) for file in step.files])
        counts = _joined(step.counts)
        catalog.write("register/insert_span", [_span_row(count, mark) for count in counts])
        catalog.write(
            "register/insert_gap",
            [asdict(g.span) | mark | {"found_at": step.now, "reason": g.reason} for g in step.gaps],
        )
        _advance(catalog, step, [count.span for count in counts])
        _learn(catalog, step)
        topics = {file.topic for file in step.files} | set(step.topic_ids)
        gone = define_views(catalog, topics, root)
        update_run(catalog, step.run_id, figures, state)
    return gone


def update_run(catalog: Catalog, run_id: str, figures: Figures, state: RunState) -> None:
    """Record how a run stands, in a transaction of the caller's."""
    catalog.write("register/update_run", [asdict(figures) | asdict(state) | {"run_id": run_id}])


@dataclass(frozen=True, slots=True)
class Replacement:
    """Files that hold the rows of others, and the paths of those others."""

    run_id: str
    number: int
    now: datetime
    files: Sequence[LandedFile]
    retired: Sequence[str]


def replace_files(
    catalog: Catalog, step: Replacement, figures: Figures, state: RunState, root: Path
) -> None:
    """Let new files stand for old ones, in one transaction; spans and offsets stay as they are.

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
        catalog.write("register/insert_file", [_file_row(file, mark) for file in step.files])
        define_views(catalog, {file.topic for file in step.files}, root)
        update_run(catalog, step.run_id, figures, state)


def _joined(counts: Sequence[SpanCount]) -> list[SpanCount]:
    """Make one span of those of a partition that follow on each other without a hole."""
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


def _topic_rows(step: Checkpoint) -> list[dict[str, object]]:
    return [
        {
            "topic": topic,
            "incarnation": step.incarnations[topic],
            "topic_id": topic_id,
            "now": step.now,
        }
        for topic, topic_id in step.topic_ids.items()
    ]


def _partition_row(position: Position) -> dict[str, object]:
    return {
        "topic": position.topic,
        "incarnation": position.incarnation,
        "partition": position.partition,
        "first": position.expected,
    }


def _file_row(file: LandedFile, mark: dict[str, object]) -> dict[str, object]:
    row = asdict(file) | mark
    row["bytes"] = row.pop("size_bytes")
    return row


def _span_row(count: SpanCount, mark: dict[str, object]) -> dict[str, object]:
    row = asdict(count) | mark
    row.update(row.pop("span"))
    return row


def _advance(catalog: Catalog, step: Checkpoint, read: Sequence[Span]) -> None:
    """Move each partition's offset along its spans and gaps, which must tile without a hole."""
    spans = sorted(
        [*read, *(gap.span for gap in step.gaps)],
        key=lambda span: (span.topic, span.incarnation, span.partition, span.start, span.end),
    )
    for span in spans:
        last = step.last.get((span.topic, span.partition))
        inside = last is not None and span.start <= last.offset < span.end
        moved = catalog.rows(
            "register/advance_offset",
            topic=span.topic,
            incarnation=span.incarnation,
            partition=span.partition,
            expected=span.start,
            next=span.end,
            last_offset=last.offset if last and inside else None,
            last_timestamp_ms=last.timestamp_ms if last and inside else None,
            last_digest=last.digest if last and inside else None,
        )
        if not moved:
            raise OffsetsMoved(
                f"{span.topic}[{span.partition}]: the catalog is not at {span.start}, where this "
                f"run began to read; another writer has been here, run again"
            )


def _learn(catalog: Catalog, step: Checkpoint) -> None:
    known: dict[str, list[Column]] = {}
    for topic, path, version, ordinal, kind, wide in catalog.rows("queries/known_columns"):
        known.setdefault(topic, []).append(Column(path, version, ordinal, kind, wide))
    for topic, schema in step.schemas.items():
        before = set(known.get(topic, []))
        rows = [asdict(column) for column in to_columns(schema, before) if column not in before]
        if rows:
            lists = {name: [row[name] for row in rows] for name in rows[0]}
            catalog.write("register/insert_columns", [lists | {"topic": topic}])


def define_views(catalog: Catalog, topics: set[str], root: Path) -> list[str]:
    """Make the views of these topics, of all alerts and of the rejects, where they changed.

    Gives the paths of files that are gone: DuckDB refuses a view of one, which would keep new
    alerts out, so that they are left out until they are back.
    """
    schemas = known_schemas(catalog)
    before: dict[str, str] = dict(catalog.rows("queries/view_digests"))
    digests = dict(before)
    gone: list[str] = []
    for topic in sorted(topics):
        live = catalog.rows("queries/live_files", topic=topic, kind=ALERTS)
        schema = schemas.get(topic, EMPTY)
        gone += _define_there(
            catalog,
            [path for _, path in live],
            partial(_topic_view, topic, schema, live, str(root)),
            digests,
            root,
        )
    paths = [path for (path,) in catalog.rows("queries/live_rejects")]
    gone += _define_there(
        catalog,
        paths,
        lambda there: views.rejects_view([path for path in paths if path in there], str(root)),
        digests,
        root,
    )
    schemas = dict(sorted(schemas.items()))
    union, parts = views.alerts_view(schemas)
    _define_macros(catalog, digests)
    changed = _define(catalog, union, digests)
    made = sightings.generated_views(schemas, union)
    for view in made:
        _define(catalog, view, digests)
    _define_static(catalog, [union, *made], digests)
    catalog.write(
        "register/set_in_alerts",
        [
            {"topic": topic, "path": path_text((name,)), "in_alerts": part}
            for topic in schemas
            for name, part in parts.items()
            if changed or not part  # what is learnt inside a column left out changes no view
        ],
    )
    _explain_columns(catalog, before)
    return gone


def _topic_view(
    topic: str,
    schema: TopicSchema,
    live: Sequence[tuple[int, str]],
    root: str,
    there: Collection[str],
) -> views.View:
    versions: dict[int, list[str]] = {}
    for version, path in live:
        if path in there:
            versions.setdefault(version, []).append(path)
    return views.topic_view(topic, schema, versions, root)


def _define_there(
    catalog: Catalog,
    paths: Sequence[str],
    view_of: Callable[[Collection[str]], views.View],
    digests: Mapping[str, str],
    root: Path,
) -> list[str]:
    """Make a view over files, where it changed, of those that are there; give the others."""
    view = view_of(set(paths))
    if digests.get(view.name) == _digest(_parts(view)):
        return []
    there = {path for path in paths if (root / path).exists()}
    gone = [path for path in paths if path not in there]
    _define(catalog, view_of(there) if gone else view, digests)
    return gone


def _explain_columns(catalog: Catalog, before: Mapping[str, str]) -> None:
    """Make the dictionary if its text changed, and have the columns of all views say what it says.

    A view that is made again has lost its comments, so that this comes after all views.
    """
    text = sql_text("dictionary/dictionary")
    if _is_new(catalog, "etl.dictionary", [text], before):
        catalog.define(text)
    if dict(catalog.rows("queries/view_digests")) == before:
        return  # nothing was made, so that no column has lost its comment
    for schema, view, column, comment in catalog.rows("queries/comments_due"):
        name = f"{views.quoted(schema)}.{views.quoted(view)}"
        catalog.define(views.comment_statement(name, column, comment))


def _define_macros(catalog: Catalog, digests: dict[str, str]) -> None:
    """Make what sql/macros says, where it changed.

    DuckDB binds a table macro when it is made, too, and then refuses one with a parameter that is
    called like a column. Alerts may have any field, so macros meet the views of a lake without
    topics; those are forgotten, and made anew for this lake. Table macros call the others.
    """
    texts = sorted(map(sql_text, sql_names("macros")), key=lambda text: ") AS TABLE\n" in text)
    if _is_new(catalog, "sql/macros", texts, digests):
        bare, _ = views.alerts_view({})
        base = [bare, *sightings.generated_views({}, bare)]
        for view in base:
            _define(catalog, view, {})
        _define_static(catalog, base, {})
        for text in texts:
            catalog.define(text)
        digests.clear()


def _define_static(
    catalog: Catalog, base: Sequence[views.View], digests: Mapping[str, str]
) -> None:
    """Make what sql/views says, where that changed, or a column that it builds on.

    DuckDB refuses a view whose base got other columns since.
    """
    names = sql_names("views")
    texts = [sql_text(name) for name in names]
    columns = [f"{each.name} {list(each.columns.items())}" for each in base]
    if _is_new(catalog, "sql/views", [*names, *texts, *columns], digests):
        for name, text in zip(names, texts, strict=True):
            catalog.define(f"CREATE OR REPLACE VIEW {name.removeprefix('views/')} AS {text}")


def _define(catalog: Catalog, view: views.View, digests: Mapping[str, str]) -> bool:
    """Make a view if its text or its columns are not those of last time."""
    if not _is_new(catalog, view.name, _parts(view), digests):
        return False
    for statement in view.statements():
        catalog.define(statement)
    return True


def _parts(view: views.View) -> list[str]:
    return [*view.statements(), *(f"{name} {kind}" for name, kind in view.columns.items())]


def _digest(parts: Sequence[str]) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _is_new(catalog: Catalog, name: str, parts: Sequence[str], digests: Mapping[str, str]) -> bool:
    """Say whether what something is made of is not that of last time, and note it."""
    digest = _digest(parts)
    if digests.get(name) == digest:
        return False
    catalog.write("register/set_view", [{"name": name, "digest": digest}])
    return True
