import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.catalog.topic_views import alerts_view, rejects_view, topic_columns, topic_view, type_text
from etl.schema.learn import observe, settle
from etl.schema.own_columns import ADDED_COLUMNS, REJECT_COLUMNS
from etl.schema.types import EMPTY, TopicSchema
from etl.statements import literal, quoted
from tests.unit.bare_lake import OLD_DUCKDB, BareLake, query_in_process, rows_of
from tests.unit.generated_messages import like_each_other, messages
from tests.unit.json_reference import Stored, assert_exact, expected_alert, law, stored

TOPIC = "lasair_2SN-like.candidates"
OTHER = "lasair_2other"

HOSTILE = [
    'a"b',
    '"',
    '""; DROP VIEW alerts; --',
    "it's",
    "a.b",
    "a[1]",
    "two\nlines",
    "tab\t",
    " ",
    " padded ",
    "\\",
    "%s",
    "$1",
    "?",
    "*",
    "{x}",
    "select",
    "SELECT * FROM alerts",
    "COLUMNS(*)",
    "rowid",
    "filename",
    "file_row_number",
    "file_index",
    "list",
    "element",
    "key",
    "value",
    "entries",
    "struct_pack",
    "null",
    "NULL x",
    "main",
    "etl",
    "alerts",
    TOPIC,
    "é",
    "😀",
    "x" * 255,
    "UTC2",
]

with_old_duckdb = pytest.mark.skipif(
    not OLD_DUCKDB.is_dir(), reason=f"{OLD_DUCKDB} is not here: `make test` puts it there"
)


def learnt(*alerts: dict[str, Any]) -> TopicSchema:
    """Learn a schema from alerts."""
    return settle(observe(EMPTY, alerts), EMPTY)


def types_of(connection: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
    """Describe a view's columns."""
    return {
        row["column_name"]: row["column_type"] for row in rows_of(connection, f"DESCRIBE {view}")
    }


def hostile_alert() -> dict[str, Any]:
    """Make an alert in which every hostile name stands at the top, in an object and in a list."""
    inner = {name: i for i, name in enumerate(HOSTILE) if name.lower() == name}
    top = {name: f"{i}" for i, name in enumerate(HOSTILE)}
    return {**top, "nested": inner, "nested_list": [inner, None, {}]}


# ------------------------------------------------------------------------------------------- laws
@law(25)
@given(runs=st.lists(like_each_other() | messages, min_size=1, max_size=4))
def test_what_is_read_back_is_what_json_loads_says(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[bytes]]
):
    """Through files of several schema versions and the view over them, every value is exact."""
    bare_lake = BareLake(tmp_path_factory.mktemp("bare_lake"))
    landed = [bare_lake.add(TOPIC, values) for values in runs]
    with bare_lake.open() as connection:
        for values, files in zip(runs, landed, strict=True):
            paths = [file.path for file in files if file.kind == "alerts"]
            found = {} if not paths else read_file_through_view(connection, bare_lake, paths[0])
            for offset, value in enumerate(values):
                assert_exact(found.get(offset, "reject"), value)
        total = rows_of(connection, "SELECT count(*) AS n FROM alerts")[0]["n"]
        assert total == sum(
            expected_alert(value) is not None for values in runs for value in values
        )
        connection.execute("SELECT * FROM alerts").fetchall()
        refused = rows_of(connection, "SELECT value FROM etl.rejects")
        assert sorted(row["value"] for row in refused) == sorted(
            value for values in runs for value in values if expected_alert(value) is None
        )


def read_file_through_view(
    connection: duckdb.DuckDBPyConnection, bare_lake: BareLake, path: str
) -> dict[int, Stored]:
    """Read one file's rows as the topic's view shows them, beside an empty row of each version."""
    schema = bare_lake.schema(TOPIC)
    every = bare_lake.versions[TOPIC]
    (version,) = (v for v, paths in every.items() if path in paths)
    view = topic_view(TOPIC, schema, {version: [path]}, str(bare_lake.root))
    return {row["kafka_offset"]: stored(row) for row in rows_of(connection, view.select)}


@law(60)
@given(st.text())
def test_any_text_is_quoted(text: str):
    """Any text that a file can hold may be a name or a string in SQL, and stays one."""
    if "\0" in text:
        return
    with duckdb.connect() as connection:
        (row,) = rows_of(connection, f"SELECT {literal(text)} AS {quoted(text or ' ')}")
    assert row == {text or " ": text}


# ------------------------------------------------------------------------------------ hostile names
def test_hostile_names_are_columns(tmp_path: Path):
    """A field may have any name: it is a column of the topic's view and of `alerts`, unharmed."""
    bare_lake = BareLake(tmp_path)
    alert = hostile_alert()
    bare_lake.add(TOPIC, [json.dumps(alert).encode()])
    bare_lake.add(TOPIC, [json.dumps({**alert, "later": 5}).encode()])
    with bare_lake.open([OTHER]) as connection:
        for view in (quoted(TOPIC), "alerts"):
            first, second = rows_of(connection, f"SELECT * FROM {view} ORDER BY later NULLS FIRST")
            for row, extra in ((first, {}), (second, {"later": 5})):
                assert_exact(stored(row), json.dumps({**alert, **extra}).encode())
                assert stored(row).rescued == {}
            for name in HOSTILE:
                found = rows_of(connection, f"SELECT x.{quoted(name)} AS v FROM {view} AS x")
                assert {row["v"] for row in found} == {alert[name]}


def test_hostile_folder(tmp_path: Path):
    """A lake may lie in a folder with quotes, blanks or wildcards in its name, beside its twins."""
    for name in ("it's", 'a"b', "a b", "a*b", "a?b", "a[12]b", "a[[]b", "**", "é", "back\\slash"):
        bare_lake = BareLake(tmp_path / name / "lake")
        bare_lake.add(TOPIC, [b'{"n": 1}', b"null"])
    for name in ("axb", "a1b", "x", "a[b"):
        twin = BareLake(tmp_path / name / "lake")
        twin.add(TOPIC, [b'{"n": 2}', b"null", b"5"])
    for root in (path / "lake" for path in tmp_path.iterdir()):
        bare_lake = BareLake(root)
        bare_lake.columns[TOPIC] = twin.columns[TOPIC]
        paths = [path.relative_to(root).as_posix() for path in root.rglob("*.parquet")]
        bare_lake.versions[TOPIC] = {1: [path for path in paths if path.startswith("data/")]}
        bare_lake.rejects = [path for path in paths if path.startswith("rejects/")]
        with bare_lake.open() as connection:
            (row,) = rows_of(connection, f"SELECT n FROM {quoted(TOPIC)}")
            rejects = rows_of(connection, "SELECT * FROM etl.rejects")
        twins = row["n"] == 2
        assert len(rejects) == (2 if twins else 1)
        assert twins == (root.parent.name in ("axb", "a1b", "x", "a[b"))


@pytest.mark.parametrize(
    "topic", ["123", "007", "2026-02-14", "true", "1e5", "x.y-z_", "select", "UTC"]
)
def test_topic_that_looks_like_a_value(tmp_path: Path, topic: str):
    """A topic's name is text, whatever it looks like."""
    bare_lake = BareLake(tmp_path)
    bare_lake.add(topic, [b'{"n": 1}', b"null"])
    with bare_lake.open() as connection:
        for view in (quoted(topic), "alerts", "etl.rejects"):
            assert types_of(connection, view)["kafka_topic"] == "VARCHAR"
            (row,) = rows_of(connection, f"SELECT kafka_topic FROM {view}")
            assert row["kafka_topic"] == topic


# -------------------------------------------------------------------------------------- empty views
def test_topic_without_files_has_a_typed_view():
    """A topic without files can be queried: no row, but every column with its type."""
    schema = learnt({"mag": 5.5, "s": {"l": [{"x": True}]}, "name": "SN"})
    view = topic_view(TOPIC, schema, {}, "/nowhere")
    with duckdb.connect() as connection:
        for statement in view.statements():
            connection.execute(statement)
        assert types_of(connection, view.name) == {
            "UTC": "TIMESTAMP",
            "mag": "DOUBLE",
            "s": "STRUCT(l STRUCT(x BOOLEAN)[])",
            "name": "VARCHAR",
            **ADDED_COLUMNS,
        }
        assert (
            rows_of(connection, f"SELECT * FROM {view.name} WHERE mag > 5 AND UTC > '2026-01-01'")
            == []
        )


def test_lake_without_topics_has_typed_views():
    """Before the first topic, `alerts` and `etl.rejects` can be queried too."""
    union, parts = alerts_view({})
    assert parts == {}
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA etl")
        for view in (union, rejects_view([], "/nowhere")):
            for statement in view.statements():
                connection.execute(statement)
            assert rows_of(connection, f"SELECT * FROM {view.name}") == []
        assert types_of(connection, "alerts") == ADDED_COLUMNS
        assert types_of(connection, "etl.rejects") == REJECT_COLUMNS


def test_all_times_say_that_they_are_utc(tmp_path: Path):
    """Each TIMESTAMP column is without a zone, and its comment says UTC."""
    bare_lake = BareLake(tmp_path)
    bare_lake.add(TOPIC, [b'{"UTC": "2026-02-14 13:41:02"}', b"null"])
    with bare_lake.open() as connection:
        columns = rows_of(
            connection,
            "SELECT table_name, column_name, comment, data_type FROM duckdb_columns() "
            "WHERE NOT internal AND data_type LIKE 'TIMESTAMP%'",
        )
        assert {row["table_name"] for row in columns} == {TOPIC, "alerts", "rejects"}
        assert [row for row in columns if "UTC" not in (row["comment"] or "")] == []
        assert {row["data_type"] for row in columns} == {"TIMESTAMP"}


# ------------------------------------------------------------------------------------------- alerts
def test_alerts_leaves_out_what_does_not_agree(tmp_path: Path):
    """A column enters `alerts` only where all topics agree on its type and spelling."""
    bare_lake = BareLake(tmp_path)
    ours = {"mag": "text", "ra": 1.5, "s": {"x": 1}, "l": [1], "deep": {"Ra": 1}, "same": 1}
    theirs = {"mag": 5.5, "RA": 1.5, "s": [1], "l": {"x": 1}, "deep": {"ra": 1}, "same": 2}
    bare_lake.add(TOPIC, [json.dumps(ours).encode()])
    bare_lake.add(OTHER, [json.dumps(theirs).encode()])
    _, parts = alerts_view({t: bare_lake.schema(t) for t in (TOPIC, OTHER)})
    assert {name for name, part in parts.items() if part} == {"UTC", "same"}
    assert {name for name, part in parts.items() if not part} == {
        "mag",
        "ra",
        "RA",
        "s",
        "l",
        "deep",
    }
    with bare_lake.open() as connection:
        assert list(types_of(connection, "alerts")) == ["UTC", "same", *ADDED_COLUMNS]
        found = rows_of(connection, "SELECT same, kafka_topic FROM alerts ORDER BY same")
        assert [tuple(row.values()) for row in found] == [(1, TOPIC), (2, OTHER)]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("ours", "theirs", "joined"),
    [
        ({"n": 1}, {"n": 5.5}, "DOUBLE"),
        ({"n": 2**53}, {"n": 5.5}, "DOUBLE"),
        ({"n": 2**53 + 1}, {"n": 5.5}, None),
        ({"n": [1]}, {"n": [5.5]}, "DOUBLE[]"),
        ({"n": [2**60]}, {"n": [5.5]}, None),
        (
            {"n": {"a": 1, "b": "x"}},
            {"n": {"c": [True], "a": 0.5}},
            {"a": 0.5, "b": None, "c": [True]},
        ),
        ({"n": {"a": 2**60}}, {"n": {"a": 5.5}}, None),
        ({"n": [{"a": 1}]}, {"n": [{"b": 5.5}]}, [{"a": None, "b": 5.5}]),
        ({"n": True}, {"n": 1}, None),
        ({"n": "1"}, {"n": 1}, None),
        ({"n": {}}, {"n": 1}, "BIGINT"),
    ],
)
def test_alerts_joins_only_what_stays_exact(
    tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any], joined: Any, first: int
):
    """Across topics BIGINT meets DOUBLE only where every value stays the same, nested or not."""
    bare_lake = BareLake(tmp_path)
    alerts = [(TOPIC, ours), (OTHER, theirs)]
    for topic, alert in reversed(alerts) if first else alerts:
        bare_lake.add(topic, [json.dumps(alert).encode()])
    with bare_lake.open() as connection:
        types = types_of(connection, "alerts")
        if joined is None:
            assert "n" not in types
            return
        if isinstance(joined, str):
            assert types["n"] == joined
        for topic, alert in alerts:
            (row,) = rows_of(
                connection,
                f"SELECT n, etl_rescued FROM alerts WHERE kafka_topic = {literal(topic)}",
            )
            whole = {"n": row["n"], **json.loads(row["etl_rescued"] or "{}")}
            assert_exact(Stored(whole, example=True, rescued={}), json.dumps(alert).encode())
        if not isinstance(joined, str):
            (row,) = rows_of(
                connection, f"SELECT n FROM alerts WHERE kafka_topic = {literal(OTHER)}"
            )
            assert row["n"] == joined


def test_ids_never_join_as_numbers():
    """An id that is a DOUBLE anywhere would make all others wrong: it stays out of `alerts`."""
    number = TopicSchema(
        1, pa.struct([("UTC", pa.timestamp("us")), ("xId", pa.float64())]), frozenset()
    )
    _, parts = alerts_view({"a": learnt({"xId": 5}), "b": number})
    assert parts == {"UTC": True, "xId": False}


def test_alerts_leaves_out_in_any_order():
    """What `alerts` leaves out does not depend on the order of the topics."""
    schemas = {
        "a": learnt({"n": 5.5, "m": 1}),
        "b": learnt({"n": 1, "m": "x"}),
        "c": learnt({"n": 2**60, "m": 1}),
        "d": learnt({"N": 1}),
    }
    names = list(schemas)
    found = [
        alerts_view({name: schemas[name] for name in names[i:] + names[:i]})[1] for i in range(4)
    ]
    assert all(
        {n.lower(): part for n, part in parts.items()} == {"utc": True, "n": False, "m": False}
        for parts in found
    )


# ---------------------------------------------------------------------------------------- versions
def test_files_of_all_versions_stand_side_by_side(tmp_path: Path):
    """What an earlier file lacks is NULL, and its whole numbers are the same as DOUBLE."""
    bare_lake = BareLake(tmp_path)
    runs = [
        [b'{"n": 1, "id": 313637935709683761}', b'{"n": 9007199254740992}'],
        [b'{"n": 1.5, "s": {"a": 1}}'],
        [b'{"s": {"b": [{"c": 1}], "a": null}}', b'{"n": 9007199254740993}'],
        [b'{"s": {"b": [{"c": 2.5, "d": "x"}]}, "id": 313637935709683762}'],
        [b'{"n": 2}'],
    ]
    for values in runs:
        bare_lake.add(TOPIC, values)
    assert sorted(bare_lake.versions[TOPIC]) == [1, 2, 3, 4]
    with bare_lake.open() as connection:
        types = types_of(connection, quoted(TOPIC))
        found = [stored(row) for row in rows_of(connection, f"FROM {quoted(TOPIC)}")]
    assert types["n"] == "DOUBLE"
    assert types["id"] == "BIGINT"
    assert types["s"] == "STRUCT(a BIGINT, b STRUCT(c DOUBLE, d VARCHAR)[])"
    values = [value for run in runs for value in run]
    assert len(found) == len(values)
    for value in values:
        assert any(is_exact(row, value) for row in found), value


def is_exact(row: Stored, value: bytes) -> bool:
    """Return whether a row is a message's."""
    try:
        assert_exact(row, value)
    except AssertionError:
        return False
    return True


def test_view_has_the_columns_of_the_schema(tmp_path: Path):
    """A view has every column learnt, in the schema's order, also those that no live file has."""
    bare_lake = BareLake(tmp_path)
    bare_lake.add(TOPIC, [b'{"n": 1, "name": "SN"}'])
    bare_lake.add(TOPIC, [b'{"n": 0.5, "s": {"x": [1]}}'])
    schema = bare_lake.schema(TOPIC)
    expected = topic_columns(schema)
    assert list(expected)[:4] == ["UTC", "n", "name", "s"]
    for versions in ({1: bare_lake.versions[TOPIC][1]}, {2: bare_lake.versions[TOPIC][2]}, {}):
        view = topic_view(TOPIC, schema, versions, str(tmp_path))
        with duckdb.connect() as connection:
            for statement in view.statements():
                connection.execute(statement)
            found = types_of(connection, view.name)
        assert list(found.items()) == [(n, t.replace('"', "")) for n, t in expected.items()]


def test_each_version_is_one_list_of_files(tmp_path: Path):
    """A view opens one footer for each schema version, and never asks for `union_by_name`."""
    schema = learnt({"n": 1})
    view = topic_view(TOPIC, schema, {1: ["a", "b"], 2: ["c"]}, "/lake")
    assert view.select.count("read_parquet(") == 2
    assert "['/lake/a', '/lake/b']" in view.select
    assert "union_by_name" not in view.select


def test_type_text_is_what_duckdb_reads():
    """A learnt type, written as SQL, is that type."""
    fields = learnt(hostile_alert()).fields
    for field in fields:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW v AS SELECT NULL::{type_text(field.type)} AS x")
            again = connection.table("v").to_arrow_table().schema.field("x").type
        assert type_text(again) == type_text(field.type)


# -------------------------------------------------------------------------------------- DuckDB 1.5
@with_old_duckdb
def test_older_duckdb_reads_the_same(tmp_path: Path):
    """DuckDB 1.5 makes the same views, and reads the same values from them."""
    bare_lake = BareLake(tmp_path / "it's [1]")
    bare_lake.add(
        TOPIC,
        [json.dumps(hostile_alert()).encode(), b'{"n": 5, "diaObjectId": 313637935709683761}'],
    )
    bare_lake.add(TOPIC, [b'{"n": 5.5, "mag": [NaN, 1e400, -1e400]}', b"null", b'{"n": "odd"}'])
    bare_lake.add(
        OTHER, [b'{"n": 7, "UTC": "2026-02-14 13:41:02", "nested": {"new": {"x": [[1]]}}}']
    )
    statements = bare_lake.statements(["lasair_2empty"])
    queries = [
        "SELECT * FROM alerts ORDER BY kafka_topic, n, etl_run_id, kafka_offset",
        f"SELECT * FROM {quoted(TOPIC)} ORDER BY n, etl_rescued, kafka_offset",
        "SELECT * FROM lasair_2empty",
        "SELECT * FROM etl.rejects",
        "SELECT kafka_topic, night, count(*) FROM alerts WHERE n > 5 GROUP BY ALL ORDER BY ALL",
        "SELECT etl_rescued::JSON->>'$.n' FROM alerts WHERE etl_rescued IS NOT NULL",
    ]
    new, answers = query_in_process(statements, queries)
    old, old_answers = query_in_process(statements, queries, OLD_DUCKDB)
    assert (new, old) == (duckdb.__version__, "1.5.6")
    for query, answer, old_answer in zip(queries, answers, old_answers, strict=True):
        assert answer == old_answer, query
