import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etl.schema import own_columns
from etl.schema.learn import MAX_FIELDS, Learner, count_fields, observe, parse_utc, settle
from etl.schema.paths import Path, path_text
from etl.schema.types import (
    EMPTY,
    NUMBER,
    TEXT,
    TopicSchema,
    file_schema,
    is_id,
    is_reserved,
    typed,
)
from tests.unit.generated_messages import NAMES, like_each_other, messages
from tests.unit.json_reference import expected_alert, law, path_parts

values_of = st.one_of(like_each_other(), messages).map(
    lambda values: [alert for alert in map(expected_alert, values) if alert is not None]
)


def learnt(*alerts: dict[str, Any], base: TopicSchema = EMPTY) -> TopicSchema:
    """Learn from alerts, as one batch does."""
    return settle(observe(base, alerts), base)


def scalars(arrow: pa.DataType, path: Path = ()) -> Iterator[tuple[Path, pa.DataType]]:
    """Go through the typed fields that hold no others."""
    if pa.types.is_struct(arrow):
        for field in arrow:
            yield from scalars(field.type, (*path, field.name))
    elif pa.types.is_list(arrow):
        yield from scalars(arrow.value_type, (*path, None))
    elif not pa.types.is_null(arrow):
        yield path, arrow


def shape(arrow: pa.DataType) -> Any:
    """Write a type without the order of its fields."""
    if pa.types.is_struct(arrow):
        return {field.name: shape(field.type) for field in arrow}
    return [shape(arrow.value_type)] if pa.types.is_list(arrow) else str(arrow)


# ------------------------------------------------------------------------------------------- laws
@law(80)
@given(st.lists(values_of, max_size=3))
def test_schema_only_widens(batches: list[list[dict[str, Any]]]):
    """No field of a topic ever goes away or gets another type, but BIGINT may become DOUBLE."""
    schema = EMPTY
    for batch in batches:
        later = learnt(*batch, base=schema)
        after = dict(scalars(later.fields))
        for path, arrow in scalars(schema.fields):
            assert after[path] == arrow or (arrow, after[path]) == (pa.int64(), NUMBER)
        assert schema.wide <= later.wide
        assert later.version - schema.version in (0, 1)
        schema = later


@law(80)
@given(values_of)
def test_learning_twice_is_learning_once(alerts: list[dict[str, Any]]):
    """What was learnt once teaches nothing more, and the version stays."""
    schema = learnt(*alerts)
    assert learnt(*alerts, base=schema) == schema
    assert learnt(*reversed(alerts), base=schema) == schema


@law(80)
@given(values_of, values_of)
def test_learning_in_one_batch_or_two(left: list[dict[str, Any]], right: list[dict[str, Any]]):
    """A topic's types do not depend on where its stream was cut into batches."""
    at_once = learnt(*left, *right)
    in_two = learnt(*right, base=learnt(*left))
    assert shape(typed(at_once.fields)) == shape(typed(in_two.fields))
    assert at_once.wide == in_two.wide


plain = st.dictionaries(
    st.sampled_from(["mag", "name", "s", "l", "n"]),
    st.just(None),
    max_size=5,
).flatmap(
    lambda fields: st.fixed_dictionaries(
        {
            name: {
                "mag": st.sampled_from([5, 5.5, None, math.nan]),
                "name": st.sampled_from(["SN", None]),
                "s": st.fixed_dictionaries(
                    {}, optional={"x": st.sampled_from([1, None]), "y": st.just("text")}
                ),
                "l": st.lists(st.sampled_from([1, 1.5, None]), max_size=2),
                "n": st.sampled_from([True, False]),
            }[name]
            for name in fields
        }
    )
)


@law(80)
@given(st.lists(plain, max_size=6), st.randoms(use_true_random=False))
def test_without_conflict_the_order_does_not_matter(alerts: list[dict[str, Any]], chance: Any):
    """Where alerts agree, the schema is the same whatever came first, and however it was cut."""
    shuffled = chance.sample(alerts, len(alerts))
    cut = chance.randint(0, len(alerts))
    one = learnt(*alerts)
    other = learnt(*shuffled[cut:], base=learnt(*shuffled[:cut]))
    assert shape(one.fields) == shape(other.fields)
    assert one.wide == other.wide


@law(80)
@given(values_of)
def test_version_rises_with_the_files_columns(alerts: list[dict[str, Any]]):
    """The version changes exactly when the files' columns do, and all of one version are alike."""
    schema = EMPTY
    for alert in alerts:
        later = learnt(alert, base=schema)
        same = file_schema(later).equals(file_schema(schema))
        assert (later.version == schema.version) == (same and schema.version > 0)
        schema = later


@law(80)
@given(values_of)
def test_fields_are_added_at_the_end(alerts: list[dict[str, Any]]):
    """In every struct the typed fields stand in the order in which they got their type."""

    def check(before: pa.DataType, after: pa.DataType) -> None:
        if pa.types.is_struct(before) and pa.types.is_struct(after):
            names = [field.name for field in before]
            assert [field.name for field in after][: len(names)] == names
            for field in before:
                check(field.type, after.field(field.name).type)
        elif pa.types.is_list(before) and pa.types.is_list(after):
            check(before.value_type, after.value_type)

    schema = EMPTY
    for alert in alerts:
        later = learnt(alert, base=schema)
        check(pa.struct(list(file_schema(schema))), pa.struct(list(file_schema(later))))
        schema = later


@law(200)
@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=4) | st.integers(0, 99), min_size=1))
def test_path_text_is_unambiguous(path: list[str | int]):
    """Two different paths never have the same text, and a path can be read back from it."""
    assume(isinstance(path[0], str))
    assert path_parts(path_text(path)) == path


# ------------------------------------------------------------------------------------------- types
@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ([{"x": 5}], "int64"),
        ([{"x": 5}, {"x": 5.5}], "double"),
        ([{"x": 5.5}, {"x": 5}], "double"),
        ([{"x": 5}, {"x": math.inf}], "double"),
        ([{"x": 5}, {"x": math.nan}], "int64"),
        ([{"x": 2**53}, {"x": 5.5}], "double"),
        ([{"x": 2**53 + 1}, {"x": 5.5}], "int64"),
        ([{"x": -(2**53) - 1}, {"x": 5.5}], "int64"),
        ([{"x": 2**63}], None),
        ([{"x": 2**63}, {"x": 5}], "int64"),
        ([{"x": True}, {"x": 5}], "bool"),
        ([{"x": 5}, {"x": True}], "int64"),
        ([{"x": "5"}, {"x": 5}], "string"),
        ([{"x": None}], None),
        ([{"x": math.nan}], None),
        ([{"x": None}, {"x": "a"}], "string"),
        ([{"x": []}], None),
        ([{"x": {}}], None),
        ([{"x": [None, []]}], None),
        ([{"x": []}, {"x": "a"}, {"x": [1]}], "string"),
        ([{"x": {"a": []}}, {"x": [1]}], ["int64"]),
        ([{"x": {"a": 1}}, {"x": [1]}], {"a": "int64"}),
        ([{"x": []}, {"x": {}}, {"x": [1]}], ["int64"]),
        ([{"x": [[]]}, {"x": [5, []]}], ["int64"]),
        ([{"x": [1]}, {"x": [0.5]}], ["double"]),
        ([{"x": [2**60]}, {"x": [0.5]}], ["int64"]),
        ([{"x": [[], [1]]}], [["int64"]]),
        ([{"x": [{"a": 1}, {"b": "t"}]}], [{"a": "int64", "b": "string"}]),
        ([{"x": {"a": None, "b": 1}}], {"b": "int64"}),
        ([{"x": {"A": 1, "a": 2}}], {"A": "int64"}),
        ([{"x": {"": 1, "a\0": 2, "n" * 256: 3, "ok": 4}}], {"ok": "int64"}),
        ([{"x": {"night": 1, "kafka_offset": 2}}], {"night": "int64", "kafka_offset": "int64"}),
    ],
)
def test_type_of_a_field(alerts: list[dict[str, Any]], expected: Any):
    """Each field has the first type that its values have; only BIGINT widens, where it is exact."""
    columns = file_schema(learnt(*alerts))
    index = columns.get_field_index("x")
    assert (None if index < 0 else shape(columns.field(index).type)) == expected


@pytest.mark.parametrize("name", ["id", "candid", "diaObjectId", "ss_object_id", "Id", "_id"])
@pytest.mark.parametrize("alerts", [[5, 5.5], [5.5, 5], [5.0, 2**60], [5, math.inf]])
def test_id_is_never_a_number_with_fraction(name: str, alerts: list[Any]):
    """An identifier's column is BIGINT, whatever comes first."""
    assert is_id(name)
    for wrapped in (lambda v: v, lambda v: [v], lambda v: [[v]]):
        columns = file_schema(learnt(*({name: wrapped(value)} for value in alerts)))
        (arrow,) = {arrow for path, arrow in scalars(columns.field(name).type)}
        assert arrow == pa.int64()


@pytest.mark.parametrize("name", ["mid", "Identity", "ids", "valid", "candidate", "ID"])
def test_other_names_are_no_ids(name: str):
    """A name that only looks like an identifier's may be a DOUBLE."""
    assert not is_id(name)


@pytest.mark.parametrize("name", ["night", "NIGHT", "kafka_", "Kafka_x", "etl_rescued", "ETL_"])
def test_reserved_names(name: str):
    """Our own columns' names are reserved in any spelling, at the top of an alert only."""
    assert is_reserved(name)
    assert file_schema(learnt({name: 5})).names == ["UTC"]
    assert file_schema(learnt({"s": {name: 5}})).names == ["UTC", "s"]


@pytest.mark.parametrize("name", ["nights", "kafka", "etl", "tonight", "x_kafka_", "Etlx"])
def test_names_that_are_not_reserved(name: str):
    """Names beside the reserved ones are an alert's own."""
    assert file_schema(learnt({name: 5})).names == ["UTC", name]


def test_utc_is_a_time_at_the_top_only():
    """`UTC` is known from the start as a TIMESTAMP; inside an object it is a field like others."""
    columns = file_schema(learnt({"UTC": 5, "s": {"UTC": "2026-02-14 13:41:02"}}))
    assert columns.field("UTC").type == pa.timestamp("us")
    assert columns.field("s").type.field("UTC").type == TEXT


# ------------------------------------------------------------------------------------------ bounds
def test_topic_learns_so_many_fields_and_no_more():
    """However many keys messages bring, a topic's columns stay bounded, over all its batches."""
    schema = EMPTY
    for start in range(0, 3 * MAX_FIELDS, 700):
        alert = {f"k{i}": {"x": [i]} for i in range(start, start + 700)}
        schema = learnt(alert, base=schema)
        assert count_fields(schema.fields) <= MAX_FIELDS
    assert count_fields(schema.fields) == MAX_FIELDS


def test_known_fields_still_widen_when_there_is_no_room():
    """A topic that may not learn more fields still learns of those it has."""
    schema = learnt({f"k{i}": i for i in range(3 * MAX_FIELDS)})
    later = learnt({"k0": 0.5, "new": 1}, base=schema)
    assert later.fields.field("k0").type == NUMBER
    assert later.fields.get_field_index("new") == -1


def test_depth_is_bounded():
    """Columns are nested to a fixed depth; what lies deeper is rescued whole."""
    value: Any = 5
    for _ in range(100):
        value = {"o": [value]}
    schema = learnt(value)
    (path, _), *others = scalars(schema.fields)
    assert (path, others) == (("UTC",), [])
    _, rescued = Learner(schema).fit(value)
    assert rescued is not None
    assert json.loads(rescued) == value


def test_learner_is_the_same_where_nothing_is_new():
    """Where alerts teach nothing, the schema is the very same object."""
    alerts = [{"n": 5, "s": {"l": [1.5]}, "name": "x", "t": True}]
    schema = learnt(*alerts)
    learner = Learner(schema)
    assert learner.learn([*alerts, {"n": None}, {}, {"s": {"l": [2, None]}}]) is learner
    assert learner.schema is schema
    assert learner.learn([{"n": 2**60}]).schema.wide == {("n",)}


# --------------------------------------------------------------------------------------------- fit
def test_fit_keeps_every_value():
    """What fits its column stands there, and all else is rescued under its path, unchanged."""
    learner = Learner(learnt({"mag": 5.5, "l": [{"x": 1}], "name": "a", "flag": True}))
    odd = {
        "mag": 2**53 + 1,
        "l": [{"x": 1.5, "y": None}, "no", {"x": 3, "q": math.nan}, None],
        "name": 5,
        "flag": 1,
        "night": [1],
        "new": {"a": None},
        "nothing": None,
        "nan": math.nan,
    }
    row, rescued = learner.fit(odd)
    assert row == {
        "mag": None,
        "l": [{"x": None}, None, {"x": 3}, None],
        "name": None,
        "flag": None,
    }
    assert rescued is not None
    assert json.loads(rescued) == {
        "mag": 2**53 + 1,
        "l[0].x": 1.5,
        "l[1]": "no",
        "name": 5,
        "flag": 1,
        "night": [1],
        "new": {"a": None},
    }
    assert learner.fit({"mag": math.nan, "l": None})[1] is None


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01 00:00:00", 0),
        ("1969-12-31 23:59:59.999999", -1),
        ("2026-02-14 13:41:02.5", 1_771_076_462_500_000),
        ("2026-02-14T13:41:02", 1_771_076_462_000_000),
        ("0001-01-01 00:00:00", -62_135_596_800_000_000),
        ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
        ("0000-01-01 00:00:00", None),
        ("2026-02-29 00:00:00", None),
        ("2026-02-14 24:00:00", None),
        ("2026-02-14 13:41", None),
        ("2026-02-14", None),
        ("2026-02-14 13:41:02Z", None),
        ("2026-02-14 13:41:02+00:00", None),
        ("2026-02-14 13:41:02.", None),
        ("2026-02-14 13:41:02.1234567", None),
        ("2026-02-14 13:41:02\n", None),
        ("２026-02-14 13:41:02", None),  # noqa: RUF001 - a digit, but not of ASCII
        ("20260214T134102.00000", None),
        ("2026-W07-6 13:41:02.0", None),
    ],
)
def test_time_texts(text: str, micros: int | None):
    """Only a full date and time is a time, to the microsecond."""
    assert parse_utc(text) == micros


def test_reserved_columns_are_all_reserved():
    """Each column that this project adds has a reserved name, so that no field can be hidden."""
    for columns in (own_columns.ADDED_COLUMNS, own_columns.REJECT_COLUMNS):
        own = [name for name in columns if name not in ("reason", "value")]
        assert all(map(is_reserved, own))
