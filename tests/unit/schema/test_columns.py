from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.schema.columns import Column, from_columns, leaves, to_columns
from etl.schema.learn import observe, settle
from etl.schema.merge import merge_exact
from etl.schema.paths import Path, parse_path, path_text
from etl.schema.types import EMPTY, INTEGER, NUMBER, TEXT, TopicSchema, file_schema, typed
from tests.unit.bare_lake import BareLake
from tests.unit.generated_messages import NAMES, like_each_other, messages
from tests.unit.json_reference import expected_alert, law

batches_of = st.lists(
    st.one_of(like_each_other(), messages).map(
        lambda values: [alert for alert in map(expected_alert, values) if alert is not None]
    ),
    max_size=4,
)


def learnt(*alerts: dict[str, Any], base: TopicSchema = EMPTY) -> TopicSchema:
    """Learn from alerts, as one batch does."""
    return settle(observe(base, alerts), base)


def typed_part(schema: TopicSchema) -> tuple[int, pa.Schema, frozenset[Path]]:
    """Return what of a schema must survive the catalog."""
    return schema.version, file_schema(schema), schema.wide


class Catalog:
    """The rows of `etl.columns`, kept as the catalog keeps them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Column] = {}

    def write(self, schema: TopicSchema) -> None:
        """Note a checkpoint's schema."""
        for column in to_columns(schema, self.rows.values()):
            self.rows[column.path, column.version] = column

    def read(self) -> TopicSchema:
        """Read what the next run starts from."""
        return from_columns(self.rows.values())


# ------------------------------------------------------------------------------------------- laws
@law(80)
@given(batches_of)
def test_schema_survives_the_catalog(batches: list[list[dict[str, Any]]]):
    """What a run learnt, the next one knows: version, columns in their order, and what is wide."""
    catalog = Catalog()
    for batch in batches:
        schema = learnt(*batch, base=catalog.read())
        catalog.write(schema)
        assert typed_part(catalog.read()) == typed_part(schema)
        catalog.write(catalog.read())
        assert typed_part(catalog.read()) == typed_part(schema)


clashing: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["x", "xId", "y"]),
    st.sampled_from(
        [None, [], {}, 5, 5.5, 2**60, "text", True, [1], [0.5], [[]], {"a": 1}, {"a": []}]
    ),
    max_size=2,
)


@law(150)
@given(st.lists(st.lists(clashing, max_size=3), min_size=1, max_size=4))
def test_runs_or_one_run(batches: list[list[dict[str, Any]]]):
    """A topic's columns are the same whether one run read its stream or many."""
    catalog, schema = Catalog(), EMPTY
    for batch in batches:
        schema = learnt(*batch, base=schema)
        catalog.write(learnt(*batch, base=catalog.read()))
    one, many = ({f.name: f.type for f in file_schema(s)} for s in (schema, catalog.read()))
    assert one == many
    assert (catalog.read().version, catalog.read().wide) == (schema.version, schema.wide)


@law(150)
@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=4) | st.none(), min_size=1))
def test_path_is_read_back(path: list[str | None]):
    """A field's path, written as text, is the same path when read."""
    assert parse_path(path_text(path)) == tuple(path)


@law(15)
@given(st.lists(like_each_other(), min_size=2, max_size=4))
def test_files_of_a_version_are_alike(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[bytes]]
):
    """All files of one schema version have the very same columns, whichever run wrote them."""
    bare_lake = BareLake(tmp_path_factory.mktemp("bare_lake"))
    for values in [*runs, *runs]:
        bare_lake.add("lasair_2test", values)
    for paths in bare_lake.versions.get("lasair_2test", {}).values():
        schemas = [pq.read_schema(bare_lake.root / path).remove_metadata() for path in paths]
        assert all(schema.equals(schemas[0]) for schema in schemas)


# ------------------------------------------------------------------------------------------- rows
def test_one_row_a_field():
    """Each field has one row, containers before what they contain, in the files' order."""
    schema = learnt({"n": 2**60, "s": {"l": [{"a.b": 0.5}]}, "untyped": None})
    assert to_columns(schema) == [
        Column("UTC", 1, 0, "TIMESTAMP", wide=False),
        Column("n", 1, 1, "BIGINT", wide=True),
        Column("s", 1, 2, "STRUCT", wide=False),
        Column("s.l", 1, 3, "LIST", wide=False),
        Column("s.l[]", 1, 4, "STRUCT", wide=False),
        Column('s.l[]."a.b"', 1, 5, "DOUBLE", wide=False),
    ]


def test_row_keeps_the_version_that_brought_its_type():
    """A row says since when the field has its type; a later type is another row."""
    first = learnt({"n": 1, "m": 1})
    known = to_columns(first)
    second = learnt({"m": 0.5, "s": {"x": "a"}}, base=first)
    rows = {column.path: (column.version, column.type) for column in to_columns(second, known)}
    assert rows == {
        "UTC": (1, "TIMESTAMP"),
        "n": (1, "BIGINT"),
        "m": (2, "DOUBLE"),
        "s": (2, "STRUCT"),
        "s.x": (2, "VARCHAR"),
    }
    third = learnt({"s": {"y": 1}}, base=from_columns([*known, *to_columns(second, known)]))
    assert third.version == 3
    assert file_schema(third).names == ["UTC", "n", "m", "s"]


def test_wide_alone_is_no_new_version():
    """That a big number was seen is noted in the same row, without a new version."""
    first = learnt({"n": 1})
    second = learnt({"n": 2**60}, base=first)
    assert second.version == first.version
    changed = set(to_columns(second, to_columns(first))) - set(to_columns(first))
    assert changed == {Column("n", 1, 1, "BIGINT", wide=True)}


def test_no_rows_are_an_unknown_topic():
    """A topic without rows has not been met."""
    assert from_columns([]) is EMPTY


def test_rows_may_come_in_any_order():
    """The schema is the same in whatever order the catalog gives its rows."""
    catalog = Catalog()
    for alert in ({"b": 1, "s": {"z": 1}}, {"a": 1, "b": 0.5}, {"s": {"y": [1]}}):
        catalog.write(learnt(alert, base=catalog.read()))
    rows = list(catalog.rows.values())
    assert from_columns(reversed(rows)) == from_columns(rows) == catalog.read()
    assert file_schema(catalog.read()).names == ["UTC", "b", "s", "a"]


# ----------------------------------------------------------------------------------------- merging
def struct(**fields: pa.DataType) -> pa.DataType:
    """Write an object's type."""
    return pa.struct(list(fields.items()))


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        (INTEGER, INTEGER, INTEGER),
        (INTEGER, NUMBER, NUMBER),
        (INTEGER, TEXT, None),
        (pa.bool_(), INTEGER, None),
        (pa.list_(INTEGER), pa.list_(NUMBER), pa.list_(NUMBER)),
        (pa.list_(INTEGER), INTEGER, None),
        (pa.list_(INTEGER), pa.list_(TEXT), None),
        (struct(a=INTEGER), struct(b=TEXT), struct(a=INTEGER, b=TEXT)),
        (struct(a=INTEGER), struct(a=NUMBER), struct(a=NUMBER)),
        (struct(a=INTEGER), struct(A=INTEGER), None),
        (struct(a=INTEGER), struct(a=TEXT), None),
        (struct(xId=INTEGER), struct(xId=NUMBER), None),
        (struct(wide=INTEGER), struct(wide=NUMBER), None),
        (struct(a=INTEGER), pa.list_(INTEGER), None),
    ],
)
def test_merge_is_exact_or_none(left: pa.DataType, right: pa.DataType, merged: pa.DataType | None):
    """Two types have a common one only if it holds every value of both, whichever comes first."""
    wide: frozenset[Path] = frozenset({("x", "wide")})
    assert merge_exact(left, right, wide, ("x",)) == merged
    back = merge_exact(right, left, wide, ("x",))
    assert (back is None) == (merged is None)
    assert back is None or {p: t for p, t in leaves(back) if not pa.types.is_struct(t)} == {
        p: t for p, t in leaves(merged) if not pa.types.is_struct(t)
    }


@law(60)
@given(batches_of.filter(lambda batches: len(batches) > 1))
def test_merge_with_itself_changes_nothing(batches: list[list[dict[str, Any]]]):
    """A type merged with itself is itself; merged with another, it never loses a field."""
    left, right = (typed(learnt(*batch).fields) for batch in batches[:2])
    assert merge_exact(left, left, frozenset(), ()) == left
    merged = merge_exact(left, right, frozenset(), ())
    if merged is not None:
        assert {path for path, _ in leaves(merged)} == {
            path for arrow in (left, right) for path, _ in leaves(arrow)
        }
        assert merge_exact(merged, right, frozenset(), ()) == merged
