"""Objects whose keys are data: kept as JSON text, or learning no more, and exact either way."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.decode import json_alerts
from etl.decode.batch import decode_batch
from etl.schema.columns import from_columns, to_columns
from etl.schema.keyed import keyed_names
from etl.schema.types import EMPTY, TopicSchema, file_schema
from etl.schema.wishes import Wishes
from tests.unit.decode.test_batch import only_carefully
from tests.unit.json_reference import Stored, as_text, assert_exact, batch_of, decoded, law


def near(some: Any, **more: Any) -> bytes:
    """Make an alert whose object `near` is this."""
    return json.dumps({"objectId": "ZTF1", "near": some, **more}, ensure_ascii=False).encode()


def keyed(first: int, count: int) -> list[bytes]:
    """Make alerts whose object `near` is keyed by ids."""
    return [near({f"ZTF{n}": n / 4}) for n in range(first, first + count)]


def learnt(*batches: list[bytes], wishes: Wishes = Wishes()) -> TopicSchema:  # noqa: B008
    """Learn batch by batch, as runs do: between them the schema is rows of `etl.columns`."""
    schema = EMPTY
    for values in batches:
        _, schema = decode_batch(batch_of([*values]), schema, None, wishes)
        schema = from_columns(to_columns(schema))
    return schema


TEXT = learnt(keyed(0, 60))
STRUCT = learnt(keyed(0, 10), keyed(100, 60))
DEEP = learnt(
    [b'{"a": {"near": {"k%d": 1}}, "l": [{"near": {"q%d": 1}}]}' % (n, n) for n in range(60)]
)
SCHEMAS = {"text": TEXT, "struct": STRUCT, "deep": DEEP}


def test_schemas_are_those_meant():
    """A new object becomes text; one that files have as a STRUCT learns no more."""
    assert keyed_names(TEXT, frozenset()) == [("near", True)]
    assert file_schema(TEXT).field("near").type == pa.string()
    assert keyed_names(STRUCT, frozenset()) == [("near", False)]
    assert 10 < file_schema(STRUCT).field("near").type.num_fields <= 32
    assert keyed_names(DEEP, frozenset()) == [("a.near", True), ("l[].near", True)]


numbers = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([1, 1.5, None, True, 2**53])
texts = st.text(max_size=4) | st.sampled_from(
    ['"near": {', "near", '\\"near\\": {"', "NaN", "é", "\0"]
)
keys = texts | st.sampled_from(["ZTF1", "ZTF2", "ZTF3", "near", "ztf1"])
inner = st.recursive(
    numbers | texts,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(keys, inner, max_size=4)
alerts = st.fixed_dictionaries(
    {},
    optional={
        "objectId": st.just("ZTF1"),
        "near": objects | st.none() | inner,
        "a": st.fixed_dictionaries({}, optional={"near": objects | inner, "x": inner}),
        "l": st.lists(st.fixed_dictionaries({}, optional={"near": objects | inner}), max_size=3),
        "note": texts,
        "other": st.fixed_dictionaries({}, optional={"near": objects | texts}),
    },
)


def spelled(alert: dict[str, Any], way: int) -> bytes:
    """Write an alert in one of the ways that JSON has."""
    if way == 1:
        return json.dumps(alert, ensure_ascii=True).encode()
    text = json.dumps(alert, ensure_ascii=False, indent=1 if way == 2 else None)
    if way == 3:
        text = text.replace('"near"', '"n\\u0065ar"')
    if way == 4:
        text = text.replace('"near": {', '"near":\t{"twice": 1}, "near" :{', 1)
    if way == 5:
        text = text.replace("}", "", 1)
    if way == 6:
        text = text.replace('"near": {', '"near": {"\\ud83d": "\\ude00", ', 1)
    return text.encode("utf-8", "replace")


messages = st.lists(st.builds(spelled, alerts, st.integers(0, 6)), min_size=1, max_size=8)


@law(300)
@given(st.sampled_from(sorted(SCHEMAS)), messages)
def test_every_value_is_exact_both_ways(name: str, values: list[bytes]):
    """Text, row and what was rescued are together what `json.loads` says, whichever way it went."""
    for some in (values, *([value] for value in values)):
        quick, after = decoded([*some], SCHEMAS[name])
        for value, outcome in zip(some, quick, strict=True):
            assert_exact(outcome, value)
        if after == SCHEMAS[name]:
            assert as_text(quick) == as_text(only_carefully(some, SCHEMAS[name]))


@pytest.mark.parametrize("name", ["text", "struct"])
def test_keyed_alerts_go_the_quick_way(name: str, monkeypatch: pytest.MonkeyPatch):
    """Once it is known that the keys are data, no such alert needs the careful way."""

    def closed(*_: object) -> None:
        pytest.fail("a message went the careful way")

    monkeypatch.setattr(json_alerts, "exact_table", closed)
    some = [near({f"Z{n}": n / 2, f"Y{n}": {"a": [n, "é"]}, "ZTF1": 5.0}) for n in range(50)]
    found, schema = decoded([*some], SCHEMAS[name])
    assert schema == SCHEMAS[name]
    for value, outcome in zip(some, found, strict=True):
        assert_exact(outcome, value)


@pytest.mark.parametrize(
    "value",
    [
        b'{"near": "{\\"ZTF1\\": 5}"}',
        b'{"near": "text"}',
        b'{"near": [1]}',
        b'{"near": 5}',
        b'{"note": "\\"near\\": {\\"a\\": 1}"}',
        b'{"other": {"near": {"a": 1}}}',
        b'{"near": {"a": {"near": {"b": 1}}}}',
        b'{"near": {"a": NaN, "b": Infinity, "c": "NaN"}}',
        b'{"near": {"a": "\\ud83d"}}',
        b'{"near": {"a": 1}} {"near": {"a": 1}}',
        b'{"near": {"a": ' + b"[" * 490 + b"]" * 490 + b"}}",
        b'{"near": {"a": ' + b"[" * 499 + b"]" * 499 + b"}}",
        b'{"near": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"near": {"n": 123456789012345678901234567890, "f": 1.50}}',
    ],
)
@pytest.mark.parametrize("name", ["text", "struct"])
def test_odd_objects_are_exact(name: str, value: bytes):
    """What is no such object, or lies elsewhere, or is nested too deep, harms nothing beside it."""
    for values in ([value], [*keyed(0, 3), value, *keyed(5, 3)]):
        found, _ = decoded([*values], SCHEMAS[name])
        for one, outcome in zip(values, found, strict=True):
            assert_exact(outcome, one)


def test_object_that_learns_no_more_has_no_new_column():
    """The schema of a topic with a new key in each alert stays as it is."""
    found, schema = decoded([*keyed(1000, 3000)], STRUCT)
    assert schema == STRUCT
    outcome = found[2999]
    assert isinstance(outcome, Stored)
    assert outcome.rescued == {"near.ZTF3999": 3999 / 4}


def flags(count: int, of: int) -> list[bytes]:
    """Make alerts with an object of many fields, of which some are there each time."""
    return [near({f"f{(n * 7 + k) % of}": k for k in range(of // 3)}) for n in range(count)]


@pytest.mark.parametrize(
    "values",
    [
        [near({f"f{k}": k for k in range(300)})] * 30,
        [near({f"f{k}": k for k in range(300)})],
        flags(100, 90),
        keyed(0, 20),
    ],
)
def test_objects_with_fields_stay_structs(values: list[bytes]):
    """An object of many fields that come again, or of few, is no object keyed by data."""
    schema = learnt(values)
    assert keyed_names(schema, frozenset()) == []
    assert pa.types.is_struct(file_schema(schema).field("near").type)


def test_few_alerts_a_run_learn_a_bounded_number_of_keys():
    """Where each run brings a few alerts with keys of their own, the columns have an end too."""
    schema = learnt(*(keyed(5 * run, 5) for run in range(100)))
    assert keyed_names(schema, frozenset()) == [("near", False)]
    assert file_schema(schema).field("near").type.num_fields <= 256 + 5


def test_owner_decides():
    """An object is text from the first alert, or never, where the topic's owner says so."""
    text = Wishes(json_columns=frozenset({("near",)}))
    assert keyed_names(learnt(keyed(0, 1), wishes=text), frozenset()) == [("near", True)]
    struct = Wishes(struct_columns=frozenset({("near",)}))
    schema = learnt(keyed(0, 300), wishes=struct)
    assert keyed_names(schema, frozenset()) == []
    assert file_schema(schema).field("near").type.num_fields == 300


def test_pieces_read_side_by_side_give_the_same(monkeypatch: pytest.MonkeyPatch):
    """Threads change nothing of what is recognised, nor of the rows."""
    monkeypatch.setattr(json_alerts, "PIECE_BYTES", 500)
    for values in (keyed(0, 500), [*keyed(0, 200), *[near(None)] * 200, *keyed(700, 300)]):
        alone, schema = decode_batch(batch_of([*values]), EMPTY)
        with ThreadPoolExecutor(2) as readers:
            both, again = decode_batch(batch_of([*values]), EMPTY, readers)
        assert again == schema
        assert both.table.equals(alone.table)


def nested(most: int) -> Iterator[bytes]:
    """Make alerts of which each is nested one deeper."""
    for depth in range(1, most):
        yield b'{"a":' * depth + b"1" + b"}" * depth


def test_nesting_that_grows_with_each_message():
    """Columns have a bounded depth, what lies deeper is rescued, and what is too deep a reject."""
    values = list(nested(600))
    result, schema = decode_batch(batch_of([*values]), EMPTY)
    assert (result.table.num_rows, len(result.rejects)) == (500, 99)
    found, _ = decoded([*values[::50]], schema)
    for value, outcome in zip(values[::50], found, strict=True):
        assert_exact(outcome, value)


def test_object_where_a_text_is_known_is_no_text():
    """An object that lies where the topic has a text of the same name is rescued as an object."""
    schema = learnt([near({f"ZTF{n}": n}, meta={"near": "text"}) for n in range(60)])
    values = [near({"ZTF1": 1}, meta={"near": {"a": 1}}), near({"ZTF1": 1}, meta={"near": "x"})]
    (first, second), _ = decoded([*values], schema)
    assert isinstance(first, Stored)
    assert first.rescued == {"meta.near": {"a": 1}}
    assert_exact(first, values[0])
    assert_exact(second, values[1])
