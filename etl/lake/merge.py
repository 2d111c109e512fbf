"""Several files of the lake written as one: sorted by object, with every value unchanged."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from etl.errors import DataAtRisk
from etl.lake.local import atomic_file
from etl.lake.parquet import FOOTER_KEY, group_rows, open_parquet, parquet_writer
from etl.lake.sort import in_order
from etl.records import ALERTS, LandedFile, Span, StoredFile, join_spans
from etl.schema.own_columns import ARRIVAL, REJECT_SCHEMA, ROW_SCHEMA
from etl.schema.types import TopicSchema, file_schema

# Rows are sorted by the first of these ids that the topic has, and then by arrival.
IDS = ("diaObjectId", "objectId")

# A look-up reads one row group. Each has few rows, but there are not so many of them that the
# footer grows.
GROUP_ROWS, MOST_GROUP_ROWS = 16_384, 122_880
GROUPS = 16

# A look-up unpacks one page of a column: with pyarrow's 20,000 rows it took twice as long.
PAGE_ROWS = 4_096
FALSE_POSITIVES = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """The new file: its path, its run, and its columns without `night`."""

    path: str
    run_id: str
    checkpoint: int
    schema_version: int
    schema: pa.Schema
    lake_id: str | None = None


def columns_of(kind: str, schema: TopicSchema) -> pa.Schema:
    """Return the columns of a file of this kind, by the topic's newest schema."""
    return pa.schema([*file_schema(schema), *ROW_SCHEMA]) if kind == ALERTS else REJECT_SCHEMA


def merge_files(files: Sequence[StoredFile], wanted: Target, lake: Path) -> LandedFile:
    """Write one file with the rows of all of these, which are of one topic and kind.

    Raises
    ------
    DataAtRisk
        A file is not what the catalog says; nothing was written.
    LakeNotWritable
        The file system refuses.
    """
    first = min(file.night for file in files)
    last = max(file.last_night for file in files)
    several = last if last != first else None
    night = [pa.field("night", pa.date32())] if several else []
    schema = pa.schema([*wanted.schema, *night])
    rows = sum(file.rows for file in files)
    footer = {FOOTER_KEY: json.dumps(_origin(files, wanted, lake)).encode()}
    key = _sort_key(schema)
    most = min(MOST_GROUP_ROWS, max(GROUP_ROWS, -(-rows // GROUPS)))
    bloom = {key[0]: {"ndv": min(most, rows), "fpp": FALSE_POSITIVES}} if key[0] in IDS else None
    layout = {"bloom_filter_options": bloom, "max_rows_per_page": PAGE_ROWS}
    written = 0
    path = lake / wanted.path
    with atomic_file(path) as out, parquet_writer(out, schema, **layout) as writer:
        for table in in_order(files, schema, key, lake):
            writer.write_table(table, group_rows(table, most))
            written += table.num_rows
        if written != rows:
            raise DataAtRisk(f"{wanted.path}: got {written} rows of {rows}; it was deleted")
        writer.add_key_value_metadata(footer)
    size = path.stat().st_size
    topic, kind = files[0].topic, files[0].kind
    version = wanted.schema_version if kind == ALERTS else 0
    return LandedFile(wanted.path, topic, first, kind, rows, size, version, several)


def _sort_key(schema: pa.Schema) -> tuple[str, ...]:
    fits = (pa.types.is_int64, pa.types.is_string)
    ids = [n for n in IDS if n in schema.names and any(is_(schema.field(n).type) for is_ in fits)]
    return (*ids[:1], *ARRIVAL)


def _origin(files: Sequence[StoredFile], wanted: Target, lake: Path) -> dict[str, Any]:
    """Join the origins in the files' footers: which offsets of which incarnations they hold."""
    topic_ids: dict[int, str | None] = {}
    spans: set[Span] = set()
    for file in files:
        with open_parquet(file, lake) as opened:
            footer = (opened.metadata.metadata or {}).get(FOOTER_KEY)
        try:
            origin = json.loads(footer or b"")
            spans |= {Span(**span) for span in origin["spans"]}
            own = {str(origin["incarnation"]): origin["topic_id"]}
            # files of version 0.1 have this key, so that its name stays
            topic_ids |= {int(n): topic_id for n, topic_id in origin.get("lives", own).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataAtRisk(f"{file.path}: does not say where its rows come from") from error
    newest = max(topic_ids)
    return {
        "run_id": wanted.run_id,
        "checkpoint": wanted.checkpoint,
        "topic": files[0].topic,
        "topic_id": topic_ids[newest],
        "incarnation": newest,
        "schema_version": wanted.schema_version if files[0].kind == ALERTS else 0,
        "spans": [asdict(span) for span in join_spans(spans)],
        "lives": topic_ids,
        "lake_id": wanted.lake_id,
    }
