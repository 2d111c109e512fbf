"""The learnt types of a topic.

A topic's schema is one Arrow struct type. It may hold fields that have no type yet (`pa.null()`:
seen only as null, NaN, or empty list); `typed` returns the part that has one, which files contain.
The schema only widens: fields are added, and BIGINT becomes DOUBLE where that is exact.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import Any

import pyarrow as pa

from etl.schema.paths import ELEMENT, Path

# Up to this absolute value every integer is a DOUBLE exactly.
EXACT_LIMIT = 2**53
UTC_FIELD = "UTC"
UTC_CHARS = len("2026-02-14 13:41:02")
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time in the lake is UTC without a zone
INTEGER = pa.int64()
NUMBER = pa.float64()
TRUTH = pa.bool_()
TEXT = pa.string()
TIMESTAMP = pa.timestamp("us")
UNTYPED = pa.null()
SQL_TYPES = {
    INTEGER: "BIGINT",
    NUMBER: "DOUBLE",
    TRUTH: "BOOLEAN",
    TEXT: "VARCHAR",
    TIMESTAMP: "TIMESTAMP",
}
ARROW_TYPES = {sql: arrow for arrow, sql in SQL_TYPES.items()}

# Half a surrogate pair, which JSON can spell but no UTF-8 file can hold.
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TopicSchema:
    """The learnt fields of a topic's alerts.

    `version` counts the changes of the typed part. `wide` holds the paths of fields that take more
    than their type says: a BIGINT in which an absolute value above 2^53 was seen, so that it never
    becomes DOUBLE; and of objects whose keys are data, a VARCHAR that is their JSON text, or a
    STRUCT that learns no more fields.
    """

    version: int
    fields: pa.StructType
    wide: frozenset[Path]


# The schema of a new topic: it has only Lasair's `UTC`.
EMPTY = TopicSchema(0, pa.struct([pa.field(UTC_FIELD, TIMESTAMP)]), frozenset())


def is_id(name: str | None) -> bool:
    """Return whether a field is an identifier, which must never become a floating-point number.

    >>> [is_id(n) for n in ("diaObjectId", "candid", "ssObject_id", "psfFlux")]
    [True, True, True, False]
    """
    return name is not None and (name in ("id", "candid") or name.endswith(("Id", "_id")))


def is_reserved(name: str) -> bool:
    """Return whether a top-level name is reserved for this project's own columns."""
    lowered = name.lower()
    return lowered == "night" or lowered.startswith(("kafka_", "etl_"))


def is_null(value: Any) -> bool:
    """Return whether a value means "no value": null, or NaN (Lasair's mark for it)."""
    return value is None or (isinstance(value, float) and isnan(value))


def typed(arrow: pa.DataType) -> pa.DataType | None:
    """Return the part of a type that is known, None where nothing is."""
    if pa.types.is_null(arrow):
        return None
    if pa.types.is_struct(arrow):
        inner = [(f.name, typed(f.type)) for f in arrow]
        known = [pa.field(name, t) for name, t in inner if t is not None]
        return pa.struct(known) if known else None
    if pa.types.is_list(arrow):
        element = typed(arrow.value_type)
        return None if element is None else pa.list_(element)
    return arrow


def file_schema(schema: TopicSchema) -> pa.Schema:
    """Return the alert's own columns in a file of this schema."""
    arrow = typed(schema.fields)
    return pa.schema(list(arrow) if arrow is not None else [])


def is_id_path(path: Path) -> bool:
    """Return whether the field at a path, or the list of this element, is an identifier."""
    return is_id(next((part for part in reversed(path) if part is not ELEMENT), None))
