"""The text of the views over the lake's files.

Topic and field names are hostile input: they enter SQL only through `quoted` and `literal`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from etl.schema.merge import merge_fields
from etl.schema.own_columns import ADDED_COLUMNS, FOLDER_COLUMNS, OF_ALERTS, REJECT_COLUMNS
from etl.schema.types import SQL_TYPES, UTC_FIELD, TopicSchema, file_schema
from etl.statements import ALERTS_VIEW, literal, quoted, unpatterned

REJECTS_VIEW = "etl.rejects"
COMMENTS = {UTC_FIELD: "When Lasair sent the alert; TIMESTAMP in UTC"} | {
    column.name: column.comment for column in OF_ALERTS if column.comment
}


@dataclass(frozen=True, slots=True)
class View:
    """A view's name as it stands in SQL, its definition, and the comments of its columns."""

    name: str
    select: str
    columns: Mapping[str, str]

    def statements(self) -> list[str]:
        """Return the statements that make the view, or make it again."""
        return [f"CREATE OR REPLACE VIEW {self.name} AS {self.select}"] + [
            comment_statement(self.name, column, COMMENTS[column])
            for column in self.columns
            if column in COMMENTS
        ]


def comment_statement(view: str, column: str, comment: str) -> str:
    """Return the statement that comments on a column; `view` is the name as it stands in SQL."""
    return f"COMMENT ON COLUMN {view}.{quoted(column)} IS {literal(comment)}"


def type_text(arrow: pa.DataType) -> str:
    """Return a learnt type as SQL."""
    if pa.types.is_struct(arrow):
        inner = ", ".join(f"{quoted(f.name)} {type_text(f.type)}" for f in arrow)
        return f"STRUCT({inner})"
    if pa.types.is_list(arrow):
        return f"{type_text(arrow.value_type)}[]"
    return SQL_TYPES[arrow]


def _files(paths: Sequence[str], root: str) -> Iterator[str]:
    """Return a SELECT from files of one schema, and another from those of several nights.

    Such a file has the night in a column, and lies beside the folders of nights.
    """
    folder = unpatterned(root)
    for of_one in (True, False):
        names = [literal(f"{folder}/{path}") for path in paths if ("/night=" in path) == of_one]
        columns = [f"'{n}': {sql}" for n, sql in FOLDER_COLUMNS.items() if of_one or n != "night"]
        if names:
            hive = f"hive_partitioning = true, hive_types = {{{', '.join(columns)}}}"
            yield f"SELECT * FROM read_parquet([{', '.join(names)}], {hive})"


def empty(columns: Mapping[str, str]) -> str:
    """Return a SELECT without rows that gives a view's columns their names and types."""
    nulls = ", ".join(f"NULL::{sql} AS {quoted(name)}" for name, sql in columns.items())
    return f"SELECT {nulls} WHERE false"


def topic_columns(schema: TopicSchema) -> dict[str, str]:
    """Return the columns of a topic's view and their SQL types, in order."""
    return {f.name: type_text(f.type) for f in file_schema(schema)} | ADDED_COLUMNS


def topic_view(
    topic: str, schema: TopicSchema, versions: Mapping[int, Sequence[str]], root: str
) -> View:
    """Define the view of one topic: a plain list of files for each schema version.

    All files of a version have the same columns, so that DuckDB binds a list by one footer. The
    first arm is empty and has all columns with their types: BIGINT widens to it, fields that a
    version lacks are NULL, and it is the whole view where there is no file.
    """
    columns = topic_columns(schema)
    arms = [empty(columns), *(arm for paths in versions.values() for arm in _files(paths, root))]
    return View(quoted(topic), " UNION ALL BY NAME ".join(arms), columns)


def rejects_view(paths: Sequence[str], root: str) -> View:
    """Define the view of all rejects."""
    arms = [empty(REJECT_COLUMNS), *_files(paths, root)]
    return View(REJECTS_VIEW, " UNION ALL BY NAME ".join(arms), REJECT_COLUMNS)


def alerts_view(schemas: Mapping[str, TopicSchema]) -> tuple[View, dict[str, bool]]:
    """Define the union of all topics; also return whether each top-level field is part of it.

    A field is left out where its types in two topics have no common type that keeps every
    value, or where two topics spell it differently in upper and lower case: then every spelling
    is left out.
    """
    fields = {topic: file_schema(schema) for topic, schema in schemas.items()}
    wide = frozenset(path for schema in schemas.values() for path in schema.wide)
    merged = merge_fields(fields.values(), wide)
    part = {name: arrow for name, arrow in merged.items() if arrow is not None}
    columns = {name: type_text(arrow) for name, arrow in part.items()} | ADDED_COLUMNS
    arms = [empty(columns)]
    for topic, own in fields.items():
        names = [f.name for f in own if f.name in part] + list(ADDED_COLUMNS)
        arms.append(f"SELECT {', '.join(map(quoted, names))} FROM {quoted(topic)}")
    select = " UNION ALL BY NAME ".join(arms)
    spelled = {f.name: f.name in part for own in fields.values() for f in own}
    return View(ALERTS_VIEW, select, columns), spelled


def nan_rows_statement(schemas: Mapping[str, TopicSchema]) -> str:
    """Define `temp.nan_rows`, a reader's own view: the rows that hold a NaN anywhere."""
    columns = {name: ADDED_COLUMNS[name] for name in ("kafka_topic", "night", "etl_run_id")}
    names = ", ".join(columns)
    arms = [empty(columns)]
    for topic, schema in schemas.items():
        parts = [_holds_nan(f.type, quoted(f.name), 0) for f in file_schema(schema)]
        condition = " OR ".join(f"coalesce({part}, false)" for part in parts if part)
        if condition:
            arms.append(f"SELECT {names} FROM {quoted(topic)} WHERE {condition}")
    return f"CREATE OR REPLACE TEMP VIEW nan_rows AS {' UNION ALL BY NAME '.join(arms)}"


def _holds_nan(arrow: pa.DataType, value: str, depth: int) -> str | None:
    """Return the condition that a value is or contains NaN; None where its type can't."""
    if pa.types.is_floating(arrow):
        return f"isnan({value})"
    if pa.types.is_list(arrow):
        element = f"e{depth}"
        inner = _holds_nan(arrow.value_type, element, depth + 1)
        return inner and f"list_bool_or(list_transform({value}, lambda {element}: {inner}))"
    if pa.types.is_struct(arrow):
        parts = [
            _holds_nan(f.type, f"struct_extract({value}, {literal(f.name)})", depth) for f in arrow
        ]
        conditions = [f"coalesce({part}, false)" for part in parts if part]
        return f"({' OR '.join(conditions)})" if conditions else None
    return None
