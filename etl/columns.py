"""How a learnt schema stands in the catalog: one row a field, with its path as text."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from etl.schema import (
    ARROW_TYPES,
    ELEMENT,
    EMPTY,
    INTEGER,
    NUMBER,
    SQL_TYPES,
    Path,
    TopicSchema,
    file_schema,
    is_id_path,
    path_text,
)

_PATH_PART = re.compile(r'\[\]|"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*')


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a topic's schema, nested ones included, as `etl.columns` keeps it."""

    path: str
    version: int
    ordinal: int
    type: str
    wide: bool


@lru_cache(maxsize=10_000)
def parse_path(text: str) -> Path:
    """Read back what `etl.schema.path_text` wrote for a field.

    >>> parse_path('alert.diaSourcesList[]."a.b"')
    ('alert', 'diaSourcesList', None, 'a.b')
    """
    return tuple(
        ELEMENT if part == "[]" else json.loads(part) if part[0] == '"' else part
        for part in _PATH_PART.findall(text)
    )


def to_columns(schema: TopicSchema, known: Iterable[Column] = ()) -> list[Column]:
    """List the typed fields; a field that `known` has with the same type keeps its version."""
    before = {column.path: column for column in sorted(known, key=lambda c: c.version)}
    columns = []
    for ordinal, (path, arrow) in enumerate(leaves(pa.struct(list(file_schema(schema))))):
        text = path_text(path)
        sql = sql_type(arrow)
        old = before.get(text)
        version = old.version if old is not None and old.type == sql else schema.version
        columns.append(Column(text, version, ordinal, sql, path in schema.wide))
    return columns


def from_columns(columns: Iterable[Column]) -> TopicSchema:
    """Build the schema again from its rows: the newest type of each path, in order of arrival."""
    newest: dict[Path, Column] = {}
    by_arrival = sorted(columns, key=lambda c: (c.version, c.ordinal))
    for column in by_arrival:
        newest[parse_path(column.path)] = column
    if not newest:
        return EMPTY
    version = max(column.version for column in newest.values())
    wide = frozenset(path for path, column in newest.items() if column.wide)
    children: dict[Path, list[Path]] = {}
    for path in newest:
        children.setdefault(path[:-1], []).append(path)

    def build(path: Path) -> pa.DataType:
        kind = newest[path].type if path else "STRUCT"
        if kind == "STRUCT":
            return pa.struct([pa.field(p[-1], build(p)) for p in children.get(path, [])])
        return pa.list_(build((*path, ELEMENT))) if kind == "LIST" else ARROW_TYPES[kind]

    return TopicSchema(version, build(()), wide)


def leaves(arrow: pa.DataType, path: Path = ()) -> Iterator[tuple[Path, pa.DataType]]:
    """Go through all fields of a type, containers before what they contain."""
    if path:
        yield path, arrow
    if pa.types.is_struct(arrow):
        for field in arrow:
            yield from leaves(field.type, (*path, field.name))
    elif pa.types.is_list(arrow):
        yield from leaves(arrow.value_type, (*path, ELEMENT))


def sql_type(arrow: pa.DataType) -> str:
    """Name a container STRUCT or LIST, and any other type by its SQL name."""
    if pa.types.is_struct(arrow):
        return "STRUCT"
    return "LIST" if pa.types.is_list(arrow) else SQL_TYPES[arrow]


def merge_exact(
    left: pa.DataType, right: pa.DataType, wide: frozenset[Path], path: Path
) -> pa.DataType | None:
    """Give the type that holds the values of both exactly, None where there is none."""
    if left == right:
        return left
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        types = {f.name: f.type for f in left}
        lowered = {name.lower(): name for name in types}
        for field in right:
            if lowered.get(field.name.lower(), field.name) != field.name:
                return None
            both = types.get(field.name)
            merged = (
                field.type
                if both is None
                else merge_exact(both, field.type, wide, (*path, field.name))
            )
            if merged is None:
                return None
            types[field.name] = merged
        return pa.struct([pa.field(n, t) for n, t in types.items()])
    if pa.types.is_list(left) and pa.types.is_list(right):
        element = merge_exact(left.value_type, right.value_type, wide, (*path, ELEMENT))
        return None if element is None else pa.list_(element)
    numbers = {left, right} == {INTEGER, NUMBER}
    return NUMBER if numbers and path not in wide and not is_id_path(path) else None
