"""Invariants 7 and 8: every value exact, and one bad message costs nothing but itself."""

import json
from datetime import UTC, datetime

import duckdb
import pytest

from etl.demo.alerts import KINDS, alerts
from tests.flow import checker
from tests.flow.alerts import small_alerts
from tests.flow.drains import SMALL_STEPS, drain
from tests.sampling import one_in

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIMULATED = {"plain": 1500, "lite": 60, "full": 12}


def read_back(lake, topic):
    """Read a topic through its view in DuckDB: coordinates and the alert that stands there."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        result = public.execute(f'SELECT * FROM "{topic}"')
        names = [column[0] for column in result.description]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return {(row["kafka_partition"], row["kafka_offset"]): row for row in rows}


def compare_all(lake, topic, log):
    """Compare each message with what DuckDB gives for it."""
    rows = read_back(lake, topic)
    assert rows.keys() == log.keys()
    for key, (_, value) in log.items():
        row = rows[key]
        checker.compare(checker.alert_of(row), value, f"{topic} {key}")
        assert row["etl_example"] == (json.loads(value).get("UTC") is None)


@pytest.mark.parametrize("kind", one_in(3, KINDS))
def test_every_simulated_alert_reads_back_as_json_loads_gives_it(kafka, broker, topic, lake, kind):
    """Each value of a simulated alert, nested ones too, comes back from DuckDB as it was sent."""
    values = list(alerts(kind, SIMULATED[kind], now=NOW))
    kafka.publish(topic, values)
    drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    assert len(log) == len(values)
    compare_all(lake, topic, log)
    assert checker.check(lake, {(topic, 1): log}).alerts == len(values)


def test_every_real_alert_reads_back_as_json_loads_gives_it(
    kafka, broker, new_topic, lake, real_alerts
):
    """Each value of the real alerts comes back from DuckDB as it was sent: ids, times, NaN."""
    topics = {name: new_topic() for name in real_alerts}
    for name, topic in topics.items():
        kafka.publish(topic, real_alerts[name])
    drain(broker, lake, *topics.values())
    for topic in topics.values():
        compare_all(lake, topic, checker.read_topic(broker, topic))
    text = b"".join(real_alerts["lsst_full"])
    assert b"NaN" in text, "there is no NaN left to test with"
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        full, ztf = topics["lsst_full"], topics["ztf_plain"]
        types = dict(row[:2] for row in public.execute(f'DESCRIBE "{full}"').fetchall())
        assert types["diaObjectId"] == "BIGINT"
        assert types["UTC"] == "TIMESTAMP"
        ids = {json.loads(value)["diaObjectId"] for value in real_alerts["lsst_full"]}
        stored = public.execute(f'SELECT DISTINCT diaObjectId FROM "{full}"').fetchall()
        assert {i for (i,) in stored} == ids
        candids = {json.loads(value).get("candid") for value in real_alerts["ztf_plain"]}
        stored = public.execute(f'SELECT DISTINCT candid FROM "{ztf}"').fetchall()
        assert {i for (i,) in stored} == candids
        doubles = [name for name, kind in types.items() if kind == "DOUBLE"]
        nan = " OR ".join(f'isnan("{name}")' for name in doubles)
        assert public.execute(f'SELECT count(*) FROM "{full}" WHERE {nan}').fetchall() == [(0,)]


def test_values_that_come_run_by_run_read_back_as_json_loads_gives_them(kafka, broker, topic, lake):
    """Types that widen, fields that appear and values that don't fit stay exact across runs."""
    runs = [
        [b'{"mag": 5, "flag": null, "list": [], "deep": {}}'],
        [b'{"mag": 5.5, "flag": true, "list": [{"a": 1}], "deep": {"x": {"y": [1, 2]}}}'],
        [b'{"mag": "Unexpected type in json.dumps:<class \'decimal.Decimal\'>", "flag": 0}'],
        [b'{"mag": NaN, "list": [{"a": 1.5, "b": [null, "t"]}], "deep": {"x": {"z": 3}}}'],
        [b'{"mag": 9007199254740993, "diaObjectId": 313637935709683761, "deep": 7}'],
        [b'{"diaObjectId": 1.5, "UTC": "2026-02-14 13:41:02.250", "ra": 1, "RA": 2}'],
        [b'{"diaObjectId": 313637935709683762, "UTC": "yesterday", "night": "x", "kafka_a": 1}'],
    ]
    for values in runs:
        kafka.publish(topic, values * 8)
        drain(broker, lake, topic)
    log = checker.read_topic(broker, topic)
    compare_all(lake, topic, log)
    assert checker.check(lake, {(topic, 1): log}).alerts == 8 * len(runs)


DEEP = 100_000
ODD = {
    "empty": b"",
    "null": b"null",
    "array": b'[{"ra": 1}]',
    "string": b'"ra"',
    "number": b"17",
    "truncated": b'{"ra": 1',
    "two objects": b'{"ra": 1}{"ra": 2}',
    "two objects on two lines": b'{"ra": 1}\n{"ra": 2}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"ra": 1.5}',
    "duplicate keys": b'{"ra": 1.5, "ra": 2.5}',
    "keys differing in case": b'{"ra": 1.5, "RA": 2.5}',
    "hostile keys": b'{"a\\"b": 1, "c.d": 2, "e\\nf": 3, "g;DROP TABLE x--": 4, "": 5}',
    "a key of 10 kB": b'{"' + b"k" * 10_000 + b'": 1}',
    "reserved names": b'{"kafka_offset": 7, "etl_run_id": "x", "night": 3, "NIGHT": 4}',
    "nested 100,000 deep": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nested 60 deep": b'{"b": ' + b'{"b": ' * 60 + b"1" + b"}" * 61,
    "an integer beyond 64 bits": b'{"big": 123456789012345678901234567890}',
    "infinity by size": b'{"ra": 1e400, "decl": -1e400}',
    "NaN and Infinity": b'{"ra": NaN, "decl": Infinity, "x": -Infinity}',
    "text where a number was": b'{"ra": "Unexpected type in json.dumps:<class"}',
    "number where text was": b'{"classification": 5}',
    "half a surrogate": b'{"name": "\\ud800"}',
    "control characters": b'{"name": "\x00\x01"}',
    "whitespace around": b'  \n {"ra": 1.5} \n ',
    "an object with nothing": b"{}",
    "half a date": b'{"UTC": "2026-02-14"}',
}
REJECTED = {
    "empty",
    "null",
    "array",
    "string",
    "number",
    "truncated",
    "two objects",
    "two objects on two lines",
    "not UTF-8",
    "nested 100,000 deep",
    "half a surrogate",
    "control characters",
}


@pytest.mark.parametrize("first", [False, True], ids=["after good ones", "before any good one"])
def test_bad_messages_cost_no_neighbour_and_no_run(kafka, broker, topic, lake, first):
    """Each odd message becomes a row with json.loads' values or a reject; its neighbours arrive."""
    good = small_alerts(len(ODD) + 30)
    values = [] if first else good[:30]
    for odd, neighbour in zip(ODD.values(), good[30:], strict=True):
        values += [odd, neighbour]
    kafka.publish(topic, values, partitions=1)
    finished = drain(broker, lake, topic, code=65)
    assert "could not be decoded" in finished.output
    log = checker.read_topic(broker, topic)
    found = checker.check(lake, {(topic, 1): log})
    assert found.rejects == len(REJECTED)
    assert found.alerts == len(values) - len(REJECTED)
    names = {value: name for name, value in ODD.items()}
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        rejects = public.execute("SELECT value, reason FROM etl.rejects").fetchall()
    assert {names[value] for value, _ in rejects} == REJECTED
    assert all(reason for _, reason in rejects)
    assert drain(broker, lake, topic).closing["figures"]["rejects"] == 0


def test_message_with_five_thousand_keys_costs_no_neighbour(kafka, broker, topic, lake):
    """More fields than a topic may have columns for are rescued, and nothing else suffers.

    The bound is lowered here, since registering thousands of columns takes seconds.
    """
    many = b"{" + b", ".join(b'"key%d": %d' % (n, n) for n in range(5000)) + b"}"
    kafka.publish(topic, [*small_alerts(8), many, *small_alerts(8)], partitions=1)
    drain(broker, lake, topic, tuning={"etl.schema.learn:MAX_FIELDS": 200})
    log = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): log}).alerts == 17
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        columns = public.execute("SELECT count(*) FROM etl.columns").fetchall()[0][0]
    assert columns <= 200


def test_few_rejects_are_no_alarm(kafka, broker, topic, lake):
    """A run with few rejects is a run well done; they are kept and counted all the same."""
    kafka.publish(topic, [*small_alerts(50), b"no json"])
    assert drain(broker, lake, topic).closing["figures"]["rejects"] == 1
    log = checker.read_topic(broker, topic)
    assert checker.check(lake, {(topic, 1): log}).rejects == 1


def test_what_one_batch_taught_is_known_to_the_next_ones_of_the_run(kafka, broker, topic, lake):
    """A field that only the first batch has, and one that only the last has, are both columns."""
    values = [b'{"n": %d}' % number for number in range(200)]
    values[0], values[-1] = b'{"n": 0, "early": "a"}', b'{"n": 199, "late": 2.5}'
    kafka.publish(topic, values, partitions=1)
    small = SMALL_STEPS | {"etl.jobs.drain:CHECKPOINT_S": 60.0}
    assert drain(broker, lake, topic, tuning=small).closing["figures"]["files"] > 2
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        found = public.execute(
            f'SELECT n, early, late FROM "{topic}" WHERE n IN (0, 100, 199) ORDER BY n'
        ).fetchall()
    assert found == [(0, "a", None), (100, None, None), (199, None, 2.5)]
