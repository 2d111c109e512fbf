"""An independent check of a lake: each produced message is there exactly once, or accounted for.

It reads the Parquet files with pyarrow and the broker with a consumer of its own, and shares no
code with `etl/`, so that a mistake there is not made here a second time. Of the published
catalog it reads only the tables, to learn what is visible.
"""

import json
import math
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.flow.brokers import ANSWER_S

Log = dict[tuple[int, int], tuple[int | None, bytes | None]]
"""What a topic holds: from partition and offset to Kafka's timestamp in ms, and the value."""

_Key = tuple[str, int, int, int]
"""Topic, incarnation, partition, offset."""

_Rows = list[tuple[_Key, dict[str, Any]]]

OWN = ("kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp", "night")
TOKEN = re.compile(r'\.?("(?:[^"\\]|\\.)*")|\.?([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]')
EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has counted in the lake, over the topics it was asked about."""

    alerts: int
    rejects: int
    tombstones: int
    lost: int
    files: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables of a published file, as lists of dicts."""

    offsets: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    files: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    counts: dict[str, int]


def read_topic(bootstrap_servers: str, topic: str) -> Log:
    """Read all that the broker has of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"checker-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "receive.message.max.bytes": 100_000_000,
            "fetch.wait.max.ms": 50,
        }
    )
    log: Log = {}
    try:
        partitions = set(consumer.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)
        assert partitions, f"{topic}: the broker knows no partition of it"
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        while partitions:
            heard = consumer.consume(10_000, 0.1)
            for message in heard:
                error = message.error()
                if error is None:
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None, "a message without coordinates"
                    assert offset is not None, "a message without coordinates"
                    kind, stamp = message.timestamp()
                    log[partition, offset] = (stamp if kind else None, message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    partitions.discard(message.partition())
                else:
                    raise AssertionError(f"{topic}: {error.str()}")
    finally:
        consumer.close()
    return log


def read_catalog(lake: Path) -> Catalog:
    """Read what the published file says, and count each of its views."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as connection:

        def rows(table: str) -> list[dict[str, Any]]:
            result = connection.execute(f"SELECT * FROM etl.{table}")
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        topics = [
            t for (t,) in connection.execute("SELECT DISTINCT topic FROM etl.topics").fetchall()
        ]
        counts = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]
            for name in [*topics, "alerts"]
        }
        counts["rejects"] = connection.execute("SELECT count(*) FROM etl.rejects").fetchall()[0][0]
        return Catalog(
            rows("offsets"), rows("spans"), rows("gaps"), rows("files"), rows("runs"), counts
        )


def check(
    lake: Path,
    produced: Mapping[tuple[str, int], Log],
    *,
    values: bool = True,
    unread: int = 0,
    night_hours: int = 12,
) -> Found:
    """Assert that every produced message is in the lake exactly once, or rejected, or a gap.

    Parameters
    ----------
    produced : mapping
        From topic and incarnation to what was in it, as `read_topic` gave it.
    values : bool
        Also compare every value with `json.loads` of its message.
    unread : int
        How many messages may lie beyond the catalog's offsets, after a run that had a bound.
    """
    catalog = read_catalog(lake)
    check_tiling(catalog)
    rows, rejects = stored_rows(lake, catalog, night_hours)
    found_alerts = Counter(key for key, _ in rows)
    found_rejects = Counter(key for key, _ in rejects)
    doubled = {k: n for k, n in (found_alerts + found_rejects).items() if n > 1}
    assert not doubled, f"stored more than once: {list(doubled.items())[:5]}"

    topics = {topic for topic, _ in produced}
    expected = {
        (*incarnation, *place): m
        for incarnation, log in produced.items()
        for place, m in log.items()
    }
    strange = [k for k in found_alerts + found_rejects if k[0] in topics and k not in expected]
    assert not strange, f"stored, but never produced: {strange[:5]}"
    lost = {
        (gap["topic"], gap["incarnation"], gap["partition"], offset)
        for gap in catalog.gaps
        for offset in range(gap["start"], gap["end"])
    }
    stored = found_alerts.keys() | found_rejects.keys()
    tombstones = _check_arrived(catalog, expected, stored, lost, unread)
    for key, row in rejects:
        if key in expected:
            assert row["value"] == expected[key][1], f"{key}: the bytes are not the message's"
            assert row["reason"], f"{key}: a reject without a reason"
    for key, row in rows:
        if key in expected:
            stamp, value = expected[key]
            assert value is not None, f"a tombstone is stored as an alert: {key}"
            check_time(key, row, stamp)
            if values:
                compare(alert_of(row), value, str(key))
    return Found(
        alerts=sum(key[0] in topics for key, _ in rows),
        rejects=sum(key[0] in topics for key, _ in rejects),
        tombstones=tombstones,
        lost=len(lost),
        files=len(catalog.files),
    )


def _check_arrived(
    catalog: Catalog,
    expected: Mapping[_Key, tuple[int | None, bytes | None]],
    stored: AbstractSet[_Key],
    lost: AbstractSet[_Key],
    unread: int,
) -> int:
    """Assert that what lies before the catalog's offsets is stored or lost; count tombstones."""
    ends = {(o["topic"], o["incarnation"], o["partition"]): o["next"] for o in catalog.offsets}
    beyond = {key for key in expected if key[3] >= ends.get(key[:3], 0)}
    tombstones = {key for key, (_, value) in expected.items() if value is None} - beyond
    missing = expected.keys() - beyond - tombstones - stored - lost
    assert not missing, f"{len(missing)} messages are nowhere: {sorted(missing)[:5]}"
    assert len(beyond) == unread, (
        f"{len(beyond)} messages lie beyond the catalog's offsets, not {unread}"
    )
    return len(tombstones)


def check_tiling(catalog: Catalog) -> None:
    """Assert invariant 2: spans and gaps tile each partition, counts and rows add up."""
    spans: dict[tuple[str, int, int], list[tuple[int, int]]] = defaultdict(list)
    alerts: Counter[str] = Counter()
    rejects = 0
    for span in catalog.spans:
        size = span["end"] - span["start"]
        parts = [span[name] for name in ("alerts", "rejects", "tombstones", "absent")]
        assert size > 0, span
        assert min(parts) >= 0, span
        assert sum(parts) == size, span
        alerts[span["topic"]] += span["alerts"]
        rejects += span["rejects"]
    for piece in catalog.spans + catalog.gaps:
        key = piece["topic"], piece["incarnation"], piece["partition"]
        spans[key].append((piece["start"], piece["end"]))
    for offset in catalog.offsets:
        at = offset["first"]
        key = offset["topic"], offset["incarnation"], offset["partition"]
        for start, end in sorted(spans.pop(key, [])):
            assert start == at, f"{key}: a hole or an overlap at {at}: [{start}, {end})"
            at = end
        assert at == offset["next"], f"{key}: tiled up to {at}, but next is {offset['next']}"
    assert not spans, f"spans of partitions that have no offset: {list(spans)}"
    live = [file for file in catalog.files if file["retired_at"] is None]
    stored: Counter[str] = Counter()
    for file in live:
        if file["kind"] == "alerts":
            stored[file["topic"]] += file["rows"]
    assert stored == +alerts, f"rows of live files {stored}, alerts of spans {alerts}"
    assert sum(file["rows"] for file in live if file["kind"] == "rejects") == rejects
    for topic, count in catalog.counts.items():
        wanted = {"alerts": alerts.total(), "rejects": rejects}.get(topic, alerts[topic])
        assert count == wanted, f"view {topic} has {count} rows, spans say {wanted}"


def stored_rows(lake: Path, catalog: Catalog, night_hours: int) -> tuple[_Rows, _Rows]:
    """Read every live file: complete, as registered, and in the folder of its night."""
    rows: dict[str, _Rows] = {"alerts": [], "rejects": []}
    for file in catalog.files:
        if file["retired_at"] is not None:
            continue
        path = lake / file["path"]
        assert path.stat().st_size == file["bytes"], f"{path}: not the size that was registered"
        table = pq.ParquetFile(path).read()
        assert table.num_rows == file["rows"], f"{path}: not the rows that were registered"
        topic = path.parts[-3].removeprefix("kafka_topic=")
        of_one = file["last_night"] is None
        folder = f"night={file['night']}" if of_one else f"{file['night']:%Y-%m}"
        assert (topic, path.parts[-2]) == (file["topic"], folder), path
        assert of_one == ("night" not in table.column_names), path
        for row in table.to_pylist():
            night = str(file["night"] if of_one else row["night"])
            assert of_one or str(file["night"]) <= night <= str(file["last_night"]), path
            key = topic, row["etl_incarnation"], row["kafka_partition"], row["kafka_offset"]
            if row["kafka_timestamp"] is not None:
                date = (row["kafka_timestamp"] - timedelta(hours=night_hours)).date()
                assert str(date) == night, f"{path}: {row['kafka_timestamp']} is not of this night"
            rows[file["kind"]].append((key, row))
    return rows["alerts"], rows["rejects"]


def check_time(key: _Key, row: Mapping[str, Any], stamp: int | None) -> None:
    """Compare the time of a row with the one that Kafka gave the message."""
    sane = stamp is not None and 0 <= stamp < 253_402_300_800_000
    wanted = EPOCH + timedelta(milliseconds=stamp) if sane and stamp is not None else None
    assert row["kafka_timestamp"] == wanted, f"{key}: {row['kafka_timestamp']} is not {wanted}"


def alert_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alert that a row stands for: its own columns, and what was rescued put back."""
    alert = {
        name: value
        for name, value in row.items()
        if name not in OWN and not name.startswith("etl_")
    }
    rescued = json.loads(row["etl_rescued"]) if row["etl_rescued"] else {}
    for path, value in rescued.items():
        if path != "kafka_timestamp" or row["kafka_timestamp"] is not None:
            _put(alert, _steps(path), value)
    return alert


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        token = TOKEN.match(path, at)
        assert token, f"{path!r} can't be read from character {at}"
        quoted, name, index = token.groups()
        steps.append(json.loads(quoted) if quoted else name or int(index))
        at = token.end()
    return steps


def _put(alert: Any, steps: list[str | int], value: Any) -> None:
    for step in steps[:-1]:
        alert = alert[step]
    assert isinstance(alert, list) or alert.get(steps[-1]) is None, f"{steps} is there twice"
    alert[steps[-1]] = value


def compare(alert: Mapping[str, Any], value: bytes, where: str = "") -> None:
    """Assert that an alert read back equals `json.loads` of its message, NaN standing for NULL.

    Of `UTC`, which is a time in the lake, the text is read as one.
    """
    wanted = json.loads(value.decode("utf-8-sig"))
    if isinstance(wanted.get("UTC"), str) and isinstance(alert.get("UTC"), datetime):
        wanted["UTC"] = datetime.fromisoformat(wanted["UTC"])
    difference = _difference(_without_null(_without_nan(wanted)), _without_null(dict(alert)), "")
    assert difference is None, f"{where}: {difference}"


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: _without_null(v) for name, v in value.items()}
        return {name: v for name, v in inner.items() if v is not None}
    return [_without_null(v) for v in value] if isinstance(value, list) else value


def _without_nan(value: Any) -> Any:
    """Return what is to be found: a NaN in the lake is wrong, so only the message's become null."""
    if isinstance(value, dict):
        return {name: _without_nan(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _difference(wanted: Any, found: Any, path: str) -> str | None:
    """Return where two values differ first; a truth is no number, 5 and 5.0 are equal.

    An object may stand there as JSON text.
    """
    if isinstance(wanted, dict) and isinstance(found, str):
        found = _without_null(json.loads(found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in [*wanted, *(n for n in found if n not in wanted)]:
            if name not in found or name not in wanted:
                return f"{path}.{name}: {'missing' if name in wanted else 'made up'}"
            inner = _difference(wanted[name], found[name], f"{path}.{name}")
            if inner:
                return inner
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return f"{path}: {len(found)} elements, not {len(wanted)}"
        pairs = enumerate(zip(wanted, found, strict=True))
        inner_ones = (_difference(w, f, f"{path}[{i}]") for i, (w, f) in pairs)
        return next((inner for inner in inner_ones if inner), None)
    same = wanted == found and isinstance(wanted, bool) == isinstance(found, bool)
    return None if same else f"{path}: {found!r}, not {wanted!r}"


def merged(logs: Iterable[Log]) -> Log:
    """Put what was read of one incarnation of a topic at several times together."""
    return {key: message for log in logs for key, message in log.items()}


def unregistered(lake: Path) -> list[str]:
    """List the files below `data` and `rejects` that the published catalog does not name."""
    known = {file["path"] for file in read_catalog(lake).files}
    return sorted(
        path.relative_to(lake).as_posix()
        for folder in ("data", "rejects")
        for path in (lake / folder).rglob("*")
        if path.is_file() and path.relative_to(lake).as_posix() not in known
    )


def moment_ms(moment: datetime) -> int:
    """Return a moment in UTC as Kafka's milliseconds."""
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)
