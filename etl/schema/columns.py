"""A learnt schema as rows of the catalog: one row a field, with its path as text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from etl.schema.paths import ELEMENT, Path, parse_path, path_text
from etl.schema.types import ARROW_TYPES, EMPTY, SQL_TYPES, TopicSchema, file_schema


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a topic's schema, at any depth: a row of `etl.columns`."""

    path: str
    version: int
    ordinal: int
    type: str
    wide: bool


def to_columns(schema: TopicSchema, known: Iterable[Column] = ()) -> list[Column]:
    """Return the typed fields; a field that `known` has with the same type keeps its version."""
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
    """Build a schema from its rows: the newest type of each path, in order of arrival."""
    by_arrival = sorted(columns, key=lambda c: (c.version, c.ordinal))
    newest = {parse_path(column.path): column for column in by_arrival}
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
    """Walk through all fields of a type, each container before its contents."""
    if path:
        yield path, arrow
    if pa.types.is_struct(arrow):
        for field in arrow:
            yield from leaves(field.type, (*path, field.name))
    elif pa.types.is_list(arrow):
        yield from leaves(arrow.value_type, (*path, ELEMENT))


def sql_type(arrow: pa.DataType) -> str:
    """Return STRUCT or LIST for a container, and for any other type its SQL name."""
    if pa.types.is_struct(arrow):
        return "STRUCT"
    return "LIST" if pa.types.is_list(arrow) else SQL_TYPES[arrow]
