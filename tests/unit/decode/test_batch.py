import json
import random
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.decode import json_alerts, json_fast
from etl.decode.batch import decode_batch
from etl.decode.json_alerts import EXACT_BYTES, PIECE_BYTES, piece_bounds
from etl.decode.json_exact import MAX_NESTING, exact_table
from etl.records import Batch, Span
from etl.schema.learn import Learner, observe, parse_utc, settle
from etl.schema.types import EMPTY, EXACT_LIMIT, TIMESTAMP, TopicSchema, file_schema
from tests.unit.generated_messages import BROKEN, TIMES, broken_from, like_each_other, messages
from tests.unit.json_reference import (
    SENT_MS,
    Stored,
    as_text,
    assert_exact,
    batch_of,
    decoded,
    expected_alert,
    law,
    outcomes,
    stored_rows,
)

GOOD = b'{"UTC": "2026-02-14 13:41:02", "diaObjectId": 313637935709683761, "mag": 5.5}'


def only_carefully(values: list[bytes], schema: TopicSchema) -> list[Stored | str | None]:
    """Decode with the quick way closed."""

    def closed(*_: object) -> None:
        raise json_fast.Inexact

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_fast.FastReader, "read", closed)
        return decoded(values, schema)[0]


@pytest.fixture
def quick_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close the careful way."""

    def closed(*_: object) -> None:
        pytest.fail("a message went the careful way")

    monkeypatch.setattr(json_alerts, "exact_table", closed)


# ------------------------------------------------------------------------------------------- laws
@law(100)
@given(messages)
def test_row_and_rescued_are_what_json_loads_says(values: list[bytes]):
    """Whatever stands beside it, an alert's row and what was rescued of it are `json.loads`."""
    found, _ = decoded(values)
    for value, outcome in zip(values, found, strict=True):
        assert_exact(outcome, value)


@law(60)
@given(messages, st.randoms(use_true_random=False))
def test_company_makes_no_difference(values: list[bytes], chance: random.Random):
    """With the topic's schema known, a message becomes the same alone, among others, shuffled."""
    first, schema = decoded(values)
    together, learnt = decoded(values, schema)
    alone = [decoded([value], schema)[0][0] for value in values]
    order = chance.sample(range(len(values)), len(values))
    shuffled, _ = decoded([values[i] for i in order], schema)
    back = dict(zip(order, shuffled, strict=True))
    assert learnt == schema
    assert as_text(together) == as_text(first) == as_text(alone)
    assert as_text([back[i] for i in range(len(values))]) == as_text(first)


@law(60)
@given(like_each_other(), st.integers(1, 200))
def test_pieces_read_side_by_side_give_the_same(values: list[bytes], piece_bytes: int):
    """Threads that parse pieces ahead change neither a row, a reject nor what is learnt."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as readers:
        patch.setattr(json_alerts, "PIECE_BYTES", piece_bytes)
        patch.setattr(json_alerts, "SEED_MESSAGES", 1)
        alone, learnt_alone = decode_batch(batch_of(values), EMPTY)
        both, learnt_both = decode_batch(batch_of(values), EMPTY, readers)
    assert learnt_both == learnt_alone
    assert both.table.equals(alone.table)
    assert (both.rejects, both.counts) == (alone.rejects, alone.counts)


@law(60)
@given(like_each_other())
def test_quick_and_careful_way_agree(values: list[bytes]):
    """The quick way gives the same values, and rescues the same, as the careful way."""
    _, schema = decoded(values)
    for value in values:
        (quick,), learnt = decoded([value], schema)
        assert as_text([quick]) == as_text(only_carefully([value], schema))
        assert learnt == schema
    assert as_text(decoded(values, schema)[0]) == as_text(only_carefully(values, schema))


@law(100)
@given(st.lists(st.sampled_from([GOOD, *BROKEN]) | broken_from(st.just(GOOD)), max_size=12))
def test_broken_messages_are_the_rejects_and_no_others(values: list[bytes]):
    """Between quick and careful way, exactly what `json.loads` refuses is a reject."""
    _, schema = decoded([GOOD])
    for known in (EMPTY, schema):
        found, _ = decoded(values, known)
        for value, outcome in zip(values, found, strict=True):
            assert_exact(outcome, value)


digits = st.text("0123456789", max_size=8)
times = st.sampled_from(TIMES) | st.builds(
    "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}{}".format,
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(" Tt_"),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.just("") | digits.map(".{}".format),
    st.sampled_from(["", "", "", "Z", "+00", "+0000", "-01:00", " UTC"]),
    st.sampled_from(["", "", "", " ", "\n", "\0", "\u0660"]),
)


@law(150)
@given(times)
def test_time_is_read_alike_both_ways(text: str):
    """Arrow and Python read the same texts as `UTC`, as the same time, and rescue the same."""
    _, schema = decoded([GOOD])
    value = json.dumps({"UTC": text}).encode()
    (quick,), _ = decoded([value], schema)
    (careful,) = only_carefully([value], schema)
    assert as_text([quick]) == as_text([careful])
    assert isinstance(quick, Stored)
    assert bool(quick.rescued) == (parse_utc(text) is None)
    assert_exact(quick, value)


@law(60)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([GOOD, b"null", None])),
        max_size=30,
    ),
    st.integers(0, 3),
)
def test_counts_add_up_to_the_span(read: list[tuple[int, int, bytes | None]], beyond: int):
    """In each span, alerts, rejects, tombstones and absent offsets add up to its length."""
    end = Counter(dict.fromkeys(range(4), 10))
    columns: list[tuple[int, int, bytes | None]] = []
    for partition, skipped, value in read:
        columns.append((partition, end[partition] + skipped, value))
        end[partition] += skipped + 1
    spans = tuple(Span("t", 1, p, 10, end[p] + beyond) for p in range(4) if end[p] + beyond > 10)
    batch = Batch(
        "t",
        1,
        [partition for partition, _, _ in columns],
        [offset for _, offset, _ in columns],
        [SENT_MS] * len(columns),
        [value for _, _, value in columns],
        spans,
    )
    result, _ = decode_batch(batch, EMPTY)
    assert tuple(count.span for count in result.counts) == spans
    for count in result.counts:
        own = [value for partition, _, value in columns if partition == count.span.partition]
        assert (count.alerts, count.rejects, count.tombstones) == (
            own.count(GOOD),
            own.count(b"null"),
            own.count(None),
        )
        total = count.alerts + count.rejects + count.tombstones + count.absent
        assert total == count.span.end - count.span.start
        assert count.absent >= 0
    assert result.table.num_rows == sum(count.alerts for count in result.counts)


# ------------------------------------------------------------------------------------ real alerts
def test_real_alerts_are_exact(real_alerts: dict[str, list[bytes]]):
    """Each real alert is stored as `json.loads` reads it; only an empty list is rescued."""
    for values in real_alerts.values():
        found, schema = decoded(values)
        for value, outcome in zip(values, found, strict=True):
            assert_exact(outcome, value)
            assert isinstance(outcome, Stored)
            assert list(outcome.rescued.values()) in ([], [[]])
        assert as_text(decoded(values, schema)[0]) == as_text(found)


def test_real_alerts_go_the_quick_way(real_alerts: dict[str, list[bytes]], quick_only: None):
    """Once the schema is known, no real alert needs the careful way."""
    for values in real_alerts.values():
        alerts = [alert for alert in map(expected_alert, values) if alert is not None]
        schema = settle(observe(EMPTY, alerts), EMPTY)
        found, learnt = decoded(values, schema)
        assert learnt == schema
        assert all(isinstance(outcome, Stored) for outcome in found)


def test_real_alerts_broken(real_alerts: dict[str, list[bytes]]):
    """Of real alerts with bytes flipped, cut or spliced, those that are JSON still are exact."""
    chance = random.Random(2)
    for name in ("lsst_plain", "ztf_plain", "lsst_objects_row"):
        whole = real_alerts[name]
        _, schema = decoded(whole)
        values: list[bytes] = []
        for _ in range(150):
            value = bytearray(chance.choice(whole))
            at = chance.randrange(len(value))
            match chance.randrange(4):
                case 0:
                    value[at] ^= 1 << chance.randrange(8)
                case 1:
                    value[at] = chance.choice(b'0123456789eE+-.{}[],:"\\ \nNaInfty\0')
                case 2:
                    del value[at:]
                case 3:
                    value[at:] = chance.choice(whole)[at:]
            values += [bytes(value), chance.choice(whole)]
        for known in (EMPTY, schema):
            for whole_or_not, outcome in zip(values, decoded(values, known)[0], strict=True):
                assert_exact(outcome, whole_or_not)


# -------------------------------------------------------------------------------- parts of a batch
@pytest.mark.parametrize("values", [[], [None], [b"null"], [b"", None, b"{"]])
def test_batch_without_alerts(values: list[bytes | None]):
    """A batch of none, of tombstones or of rejects alone has a typed table without rows."""
    for schema in (EMPTY, decoded([GOOD])[1]):
        result, learnt = decode_batch(batch_of(values), schema)
        assert result.table.num_rows == 0
        assert result.table.schema.field("UTC").type == TIMESTAMP
        assert result.table.column_names[-5:] == [
            "etl_example",
            "etl_rescued",
            "kafka_partition",
            "kafka_offset",
            "kafka_timestamp",
        ]
        assert learnt.fields == schema.fields
        assert len(result.rejects) == len([v for v in values if v is not None])


def test_rows_keep_the_order_of_arrival(monkeypatch: pytest.MonkeyPatch):
    """Rows stand in the order of arrival, whichever way each of them went, and with its offset."""
    monkeypatch.setattr(json_alerts, "PIECE_BYTES", 2000)
    monkeypatch.setattr(json_alerts, "EXACT_BYTES", 100)
    chance = random.Random(1)
    odd = [GOOD, GOOD, GOOD, None, b"null", b'{"mag": "odd"}', b'{"new": []}', b'{"new": [5]}']
    values = [chance.choice(odd) for _ in range(500)]
    result, _ = decode_batch(batch_of(values), EMPTY)
    offsets = result.table.column("kafka_offset").to_pylist()
    assert offsets == sorted(offsets)
    for value, outcome in zip(values, outcomes(result, len(values)), strict=True):
        assert_exact(outcome, value)


def test_schema_grows_in_the_middle_of_a_batch():
    """A field that a late alert brings is NULL in the earlier ones, and the version rises once."""
    values = [GOOD] * 2000 + [b'{"late": {"x": [1]}}'] + [GOOD] * 500 + [b'{"later": 5, "mag": 5}']
    result, schema = decode_batch(batch_of(values), decoded([GOOD])[1])
    assert schema.version == 2
    assert [field.name for field in file_schema(schema)][-2:] == ["late", "later"]
    assert result.table.num_rows == len(values)
    assert result.table.column("late").null_count == len(values) - 1
    assert result.table.column("late")[2000].as_py() == {"x": [1]}
    assert result.table.column("mag").null_count == 1


def test_column_widens_in_the_middle_of_a_batch():
    """Whole numbers read before the first fraction are the same numbers afterwards."""
    values = [b'{"mag": 5, "l": [1]}'] * 300 + [b'{"mag": 5.5, "l": [0.5]}', b'{"mag": 7}']
    result, schema = decode_batch(batch_of(values), EMPTY)
    assert schema.version == 1
    assert result.table.schema.field("mag").type == pa.float64()
    assert result.table.column("mag").to_pylist() == [5.0] * 300 + [5.5, 7.0]
    assert result.table.column("l").to_pylist() == [[1.0]] * 300 + [[0.5], None]


@pytest.mark.parametrize("wide", [EXACT_LIMIT + 1, -EXACT_LIMIT - 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("blank", [b"", b" "])
def test_wide_integers_keep_a_column_whole(wide: int, blank: bytes):
    """Once a whole number above 2^53 was seen, on either way, its column never becomes DOUBLE."""
    _, before = decoded([b'{"n": 1, "l": [{"n": 1}]}'])
    value = json.dumps({"n": wide, "l": [{"n": wide}]}).encode()
    (outcome,), schema = decoded([value + blank], before)
    assert_exact(outcome, value)
    assert schema.wide == {("n",), ("l", None, "n")}
    assert schema.version == before.version
    (fraction,), _ = decoded([b'{"n": 5.5, "l": [{"n": 5.5}]}'], schema)
    assert isinstance(fraction, Stored)
    assert fraction.rescued == {"n": 5.5, "l[0].n": 5.5}


@pytest.mark.parametrize("narrow", [EXACT_LIMIT, -EXACT_LIMIT])
def test_exact_integers_let_a_column_widen(narrow: int):
    """Up to 2^53 a whole number is a DOUBLE exactly, so its column may become one."""
    _, before = decoded([b'{"n": 1}'])
    _, schema = decoded([json.dumps({"n": narrow}).encode()], before)
    assert schema.wide == frozenset()
    (fraction,), _ = decoded([b'{"n": 5.5}'], schema)
    assert isinstance(fraction, Stored)
    assert fraction.columns["n"] == 5.5


def test_many_small_messages():
    """A piece may hold more messages than Arrow takes for one block of rows."""
    result, _ = decode_batch(batch_of([b"{}"] * 150_000), decoded([GOOD])[1])
    assert result.table.num_rows == 150_000


def test_message_longer_than_a_piece():
    """A message longer than what is parsed at once is read whole, and so are its neighbours."""
    text = "x" * (PIECE_BYTES + 1)
    values = [GOOD, json.dumps({"mag": 5.5, "text": text}).encode(), GOOD]
    found, _ = decoded(values)
    assert isinstance(found[1], Stored)
    assert found[1].columns["text"] == text
    assert as_text(found[:1]) == as_text(found[2:])


def test_one_odd_message_costs_few_the_careful_way(monkeypatch: pytest.MonkeyPatch):
    """Beside an odd message, only some kilobytes are read the careful way."""
    careful = Counter[str]()

    def counted(alerts: Collection[dict[str, Any]], learner: Learner) -> pa.Table:
        careful["messages"] += len(alerts)
        return exact_table(alerts, learner)

    monkeypatch.setattr(json_alerts, "exact_table", counted)
    values = [GOOD] * 10_000 + [b'{"mag": "odd"}'] + [GOOD] * 10_000
    found, _ = decoded(values, decoded([GOOD])[1])
    assert isinstance(found[10_000], Stored)
    assert found[10_000].rescued == {"mag": "odd"}
    assert 0 < careful["messages"] <= EXACT_BYTES // len(GOOD) + 1


@pytest.mark.parametrize(
    "pair",
    [
        (b'{"mag": 1.5}{"mag": 2.5}', b""),
        (b'{"mag": 1.5}{"mag": 2.5}', b" "),
        (b'{"mag": 1.5}\n{"mag": 2.5}', b"\n"),
        (b'{"mag": 1.5}{"mag": 2.5}\0}', b"{}"),
        (b'{"mag": 1.5', b"}"),
        (b'{"mag": 1.5, "x": {"mag": 2.5}', b'{"mag": 3.5}}'),
        (b'{"name": "}', b'{"}'),
        (b'[{"mag": 1.5},', b'{"mag": 2.5}]'),
        (b'{"mag": 1.5}', b"null"),
        (b"null", b"null"),
    ],
)
def test_two_messages_are_never_taken_for_others(pair: tuple[bytes, bytes]):
    """Messages that would be JSON together, or make up for each other's count, are read singly."""
    _, schema = decoded([GOOD, b'{"name": "x"}'])
    for values in (pair, (GOOD, *pair, GOOD), (*pair, GOOD, GOOD), (GOOD, GOOD, *pair)):
        for value, outcome in zip(values, decoded(values, schema)[0], strict=True):
            assert_exact(outcome, value)


def test_one_message_in_a_hundred_is_bad():
    """Bad messages all over a batch are the rejects; every good one beside them is a row."""
    values = [GOOD] * 3000
    bad = random.Random(3).sample(range(3000), 30)
    for i in bad:
        values[i] = GOOD[:-1]
    result, _ = decode_batch(batch_of(values), EMPTY)
    assert [reject.offset for reject in result.rejects] == sorted(bad)
    assert {reject.value for reject in result.rejects} == {GOOD[:-1]}
    assert result.table.num_rows == 2970
    ids = result.table.column("diaObjectId").to_pylist()
    assert set(ids) == {313637935709683761}


# ------------------------------------------------------------------------------------- coordinates
def test_coordinates_are_those_of_the_message():
    """Each row has partition, offset and timestamp of its own message, rejects left out."""
    batch = Batch(
        "t",
        3,
        [0, 1, 0, 7, 1],
        [5, 2**40, 6, 0, 2**40 + 1],
        [SENT_MS, SENT_MS + 1, SENT_MS + 2, None, SENT_MS + 4],
        [b'{"n": 1}', b'{"n": 2}', b"null", b'{"n": 4}', None],
        (),
    )
    result, _ = decode_batch(batch, EMPTY)
    columns = ["n", "kafka_partition", "kafka_offset", "kafka_timestamp"]
    rows = [tuple(row.values()) for row in result.table.select(columns).to_pylist()]
    assert [row[:3] for row in rows] == [(1, 0, 5), (2, 1, 2**40), (4, 7, 0)]
    assert [str(row[3]) for row in rows] == [
        "2026-02-14 13:41:02",
        "2026-02-14 13:41:02.001000",
        "None",
    ]
    (reject,) = result.rejects
    assert (reject.partition, reject.offset, str(reject.timestamp)) == (
        0,
        6,
        "2026-02-14 13:41:02.002000",
    )


def test_timestamp_that_is_no_time_is_rescued():
    """A broker's timestamp out of range becomes NULL, and its number is kept beside all else."""
    values = [b'{"kafka_timestamp": 7, "n": 1}', GOOD, b'{"n": 2}', b"null", b'{"n": 3}']
    stamps = [-2, SENT_MS, 253_402_300_800_000, -5, 0]
    result, _ = decode_batch(batch_of(values, stamps), EMPTY)
    rows = stored_rows(result.table)
    assert rows[0].rescued == {"kafka_timestamp": 7, "kafka:timestamp_ms": -2}
    assert rows[1].rescued == {}
    assert rows[2].rescued == {"kafka:timestamp_ms": 253_402_300_800_000}
    times = result.table.column("kafka_timestamp").to_pylist()
    assert [str(t) for t in times] == [
        "None",
        "2026-02-14 13:41:02",
        "None",
        "1970-01-01 00:00:00",
    ]
    assert result.rejects[0].timestamp is None


def test_newest_timestamp_is_kept():
    """The last millisecond that Python can read back is a time."""
    result, _ = decode_batch(batch_of([GOOD], [253_402_300_799_999]), EMPTY)
    (time,) = result.table.column("kafka_timestamp").to_pylist()
    assert str(time) == "9999-12-31 23:59:59.999000"


# ----------------------------------------------------------------------------------------- nesting
def test_depth_does_not_depend_on_the_caller():
    """How deep a message may be nested is our own limit, not what Python's stack leaves over."""

    def further_down(levels: int, value: bytes) -> list[Stored | str | None]:
        return further_down(levels - 1, value) if levels else decoded([value])[0]

    for depth, fits in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
        value = b'{"l": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
        for levels in (0, 100, 200):
            (outcome,) = further_down(levels, value)
            assert isinstance(outcome, Stored) == fits


@pytest.mark.parametrize("shallow", [b'{"a": {}}', b'{"a": []}', b'{"a": {"b": []}}'])
@pytest.mark.parametrize(
    ("left", "right", "levels"),
    [(b"[", b"]", 1), (b'{"b":', b"}", 1), (b'[{"b":', b"}]", 2)],
)
def test_deepest_alert_beside_an_empty_one_is_read(
    shallow: bytes, left: bytes, right: bytes, levels: int
):
    """A value as deep as is allowed fits in whatever company, and is exact."""
    times = (MAX_NESTING - 1) // levels
    deepest = b'{"a": ' + left * times + b"1" + right * times + b"}"
    for values in ([shallow, deepest], [deepest, shallow]):
        for outcome, value in zip(decoded(values)[0], values, strict=True):
            assert isinstance(outcome, Stored)
            assert_exact(outcome, value)


def test_deep_reject_teaches_nothing():
    """A message that is rejected leaves no trace in the topic's schema."""
    deep = b'{"mag": "text", "l": ' + b"[" * 700 + b"]" * 700 + b"}"
    found, schema = decoded([deep, b'{"mag": 5.5}'])
    assert isinstance(found[0], str)
    assert isinstance(found[1], Stored)
    assert found[1].rescued == {}
    assert [field.name for field in schema.fields] == ["UTC", "mag"]


def test_pieces_tile_the_batch():
    """The pieces that a batch is cut into cover each message once, in order."""
    values = [b"", b"12345", b"1234567890", b"1", b"", b"12345678901", b"12345", b"12345"]
    pieces = list(piece_bounds([0, *accumulate(map(len, values))], 10))
    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(values)
    assert all(left[1] == right[0] for left, right in pairwise(pieces))
    sizes = [sum(map(len, values[start:end])) for start, end in pieces]
    assert all(
        size <= 10 or end - start == 1 for size, (start, end) in zip(sizes, pieces, strict=True)
    )
