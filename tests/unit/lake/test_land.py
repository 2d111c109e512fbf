import json
import math
import os
import resource
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.decode.batch import decode_batch
from etl.errors import LakeNotWritable
from etl.lake import parquet
from etl.lake.land import Stamp, land
from etl.lake.layout import landed_path
from etl.lake.local import atomic_file, sweep
from etl.lake.nights import MOST_NIGHTS, MOST_SHARED, OWN_FILE_ROWS, by_nights
from etl.lake.parquet import FOOTER_KEY, write_table
from etl.records import ALERTS, REJECTS, Decoded, LandedFile, Span, night_of
from etl.schema.own_columns import REJECT_SCHEMA, ROW_SCHEMA
from etl.schema.types import EMPTY, TIMESTAMP
from tests.unit.bare_lake import NOW, rows_of, stamp_of
from tests.unit.json_reference import batch_of, law

TOPIC = "lasair_2test"
NOON = timedelta(hours=12)
NIGHT = date(2026, 2, 14)
BROKEN_DISK = OSError(28, "No space left on device")


def ms(text: str) -> int:
    """Return a moment in UTC as Kafka does."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def decoded(values: list[bytes | None], stamps: list[int | None] | None = None) -> Decoded:
    """Decode messages of a new topic."""
    return decode_batch(batch_of(values, stamps), EMPTY)[0]


def landed_rows(root: Path, files: list[LandedFile]) -> list[dict[str, Any]]:
    """Read files with DuckDB, with the columns that their folders stand for."""
    names = ", ".join(f"'{root}/{file.path}'" for file in files)
    hive = "hive_types = {'kafka_topic': VARCHAR, 'night': DATE}"
    with duckdb.connect() as connection:
        return rows_of(connection, f"FROM read_parquet([{names}], {hive})")


def column_chunks(path: Path) -> dict[str, Any]:
    """Return the metadata of a file's first row group, by path of the leaf, in the file's order."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    return {
        f"{i}:{group.column(i).path_in_schema}": group.column(i) for i in range(group.num_columns)
    }


def names_in(folder: Path) -> list[str]:
    """Name what is in a folder."""
    return [path.name for path in folder.iterdir()]


def encodings(path: Path) -> dict[str, set[str]]:
    """Return the encodings of a file's leaves."""
    chunks = column_chunks(path).items()
    return {name.split(":", 1)[1]: set(chunk.encodings) for name, chunk in chunks}


# ------------------------------------------------------------------------------------------ nights
@pytest.mark.parametrize(
    ("moment", "night"),
    [
        ("2026-02-14 11:59:59.999", "2026-02-13"),
        ("2026-02-14 12:00:00", "2026-02-14"),
        ("2026-02-15 11:59:59.999", "2026-02-14"),
        ("2026-03-01 00:00:00", "2026-02-28"),
        ("1970-01-01 00:00:00", "1969-12-31"),
        ("9999-12-31 23:59:59.999", "9999-12-31"),
    ],
)
def test_night_changes_at_noon(tmp_path: Path, moment: str, night: str):
    """A row's night is the date of its timestamp minus 12 hours, in its file's path too."""
    (file,) = land(decoded([b'{"n": 1}'], [ms(moment)]), stamp_of(TOPIC), tmp_path)
    assert str(file.night) == night
    assert file.path == f"data/kafka_topic={TOPIC}/night={night}/run-0.parquet"
    (row,) = landed_rows(tmp_path, [file])
    assert (str(row["night"]), row["kafka_topic"]) == (night, TOPIC)
    assert row["kafka_timestamp"] == datetime.fromisoformat(moment)


@law(100)
@given(st.integers(0, 253_402_300_799_999), st.integers(-23, 23))
def test_night_of_a_file_is_night_of_its_rows(stamp_ms: int, hours: int):
    """Splitting a table by night agrees with the night of a single moment, for any site."""
    lag = timedelta(hours=hours)
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=stamp_ms)
    try:
        expected = night_of(moment, lag)
    except OverflowError:  # the night would lie beyond the year 9999
        return
    table = decoded([b"{}"], [stamp_ms]).table
    assert [nights for *nights, _ in by_nights(table, NOW, lag)] == [[expected, expected]]


def test_each_night_has_its_file(tmp_path: Path):
    """A batch over several nights becomes one file per night and kind, each row in its own."""
    stamps = [ms(f"2026-02-{day} {hour}:00") for day in (14, 15) for hour in (11, 12, 13)]
    values = [b'{"n": %d}' % i for i in range(5)] + [b"null"]
    files = land(decoded([*values], [*stamps]), stamp_of(TOPIC, 3, first_file=7), tmp_path)
    assert [(str(f.night), f.kind, f.rows, f.path.split("/")[-1]) for f in files] == [
        ("2026-02-13", ALERTS, 1, "run-7.parquet"),
        ("2026-02-14", ALERTS, 3, "run-8.parquet"),
        ("2026-02-15", ALERTS, 1, "run-9.parquet"),
        ("2026-02-15", REJECTS, 1, "run-10.parquet"),
    ]
    assert [f.schema_version for f in files] == [3, 3, 3, 0]
    assert all(f.size_bytes == (tmp_path / f.path).stat().st_size for f in files)
    rows = landed_rows(tmp_path, files[:3])
    assert sorted(row["n"] for row in rows) == [0, 1, 2, 3, 4]
    for row in rows:
        assert row["night"] == night_of(row["kafka_timestamp"], NOON)


days = st.integers(0, 2_932_800) | st.integers(20_000, 20_060)


@law(60)
@given(st.lists(st.tuples(days, st.integers(1, 3)), min_size=1, max_size=300))
def test_nights_share_files_only_where_they_are_many(nights: list[tuple[int, int]]):
    """Up to 8 nights have a file each; files of more are few, and every row is in one, in order."""
    stamps = [day * 86_400_000 + 43_200_000 for day, count in nights for _ in range(count)]
    table = decoded([b"{}"] * len(stamps), [*stamps]).table
    distinct = {day for day, _ in nights}
    files = list(by_nights(table, NOW, NOON))
    assert (
        len(files) == len(distinct) if len(distinct) <= MOST_NIGHTS else len(files) <= MOST_SHARED
    )
    firsts = [first for first, _, _ in files]
    assert firsts == sorted(set(firsts))
    offsets: list[int] = []
    for first, last, rows in files:
        several = rows.column("night").to_pylist() if first != last else [first] * rows.num_rows
        assert ("night" in rows.column_names) == (first != last)
        assert (min(several), max(several)) == (first, last)
        moments = rows.column("kafka_timestamp").to_pylist()
        assert [night_of(moment, NOON) for moment in moments] == several
        own = rows.column("kafka_offset").to_pylist()
        assert own == sorted(own)
        offsets += own
    assert sorted(offsets) == list(range(len(stamps)))


def test_night_of_many_rows_has_a_file_of_its_own():
    """Beside nights of few rows, which share a file a month, one of many rows stands alone."""
    stamps = [ms(f"2026-02-{day:02} 15:00") for day in range(1, 28)]
    stamps += [ms("2026-03-05 15:00")] + [ms("2026-02-14 16:00")] * OWN_FILE_ROWS
    files = by_nights(decoded([b"{}"] * len(stamps), [*stamps]).table, NOW, NOON)
    assert [(str(first), str(last), rows.num_rows) for first, last, rows in files] == [
        ("2026-02-01", "2026-02-27", 26),
        ("2026-02-14", "2026-02-14", OWN_FILE_ROWS + 1),
        ("2026-03-05", "2026-03-05", 1),
    ]


def test_row_without_timestamp_belongs_to_tonight(tmp_path: Path):
    """Where the broker gives no time, or one that is none, the row is filed under this night."""
    table = decoded([b'{"n": 1}', b'{"n": 2}', b"null", b"{"], [None, -1, None, 2**62])
    files = land(table, stamp_of(TOPIC), tmp_path)
    assert {f.night for f in files} == {night_of(NOW, NOON)}
    rows = landed_rows(tmp_path, files[:1])
    assert [row["kafka_timestamp"] for row in rows] == [None, None]
    assert [row["etl_rescued"] for row in rows] == [None, '{"kafka:timestamp_ms": -1}']
    assert [row["kafka_timestamp"] for row in landed_rows(tmp_path, files[1:])] == [None, None]


def test_nothing_to_land(tmp_path: Path):
    """A batch of tombstones, or of nothing, leaves no file."""
    for values in ([], [None, None]):
        assert land(decoded(list(values)), stamp_of(TOPIC), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- what is in it
def test_rows_are_marked_with_their_run(tmp_path: Path):
    """Each row says which run stored it, when, and in which incarnation of its topic."""
    span = Span(TOPIC, 4, 0, 0, 2)
    stamp = Stamp("run-x", 9, TOPIC, None, 4, 2, NOW, NOON, 0, (span,))
    for file in land(decoded([b'{"n": 1}', b"null"]), stamp, tmp_path):
        (row,) = landed_rows(tmp_path, [file])
        assert row["etl_run_id"] == "run-x"
        assert row["etl_incarnation"] == 4
        assert row["etl_ingested_at"] == NOW
        assert type(row["kafka_partition"]) is int
    assert (row["reason"], row["value"]) == ("not an object: null", b"null")


def test_files_have_our_columns_in_one_order(tmp_path: Path):
    """A file has the alert's own columns, and then ours as `own_columns` lists them."""
    alerts, rejects = land(decoded([b'{"n": 1}', b"null"]), stamp_of(TOPIC), tmp_path)
    found = pq.read_schema(tmp_path / alerts.path)
    assert found.equals(pa.schema([("UTC", TIMESTAMP), ("n", pa.int64()), *ROW_SCHEMA]))
    assert pq.read_schema(tmp_path / rejects.path).equals(REJECT_SCHEMA)


def test_footer_says_where_the_rows_come_from(tmp_path: Path):
    """Each file names run, checkpoint, topic, incarnation, schema version and spans, in JSON."""
    spans = (Span(TOPIC, 2, 0, 5, 7), Span(TOPIC, 2, 3, 2**40, 2**41))
    stamp = Stamp("run-x", 9, TOPIC, "an-id", 2, 4, NOW, NOON, 0, spans, "a-lake")
    for file in land(decoded([b'{"n": 1}', b"null"]), stamp, tmp_path):
        origin = json.loads(pq.read_metadata(tmp_path / file.path).metadata[FOOTER_KEY])
        assert origin == {
            "run_id": "run-x",
            "lake_id": "a-lake",
            "checkpoint": 9,
            "topic": TOPIC,
            "topic_id": "an-id",
            "incarnation": 2,
            "schema_version": 4,
            "spans": [
                {"topic": TOPIC, "incarnation": 2, "partition": 0, "start": 5, "end": 7},
                {
                    "topic": TOPIC,
                    "incarnation": 2,
                    "partition": 3,
                    "start": 2**40,
                    "end": 2**41,
                },
            ],
        }


def test_encodings_are_those_that_were_measured(tmp_path: Path):
    """Zstd everywhere, a dictionary for text only, split bytes for doubles only, nested too."""
    alert = {"name": "SN", "n": 5, "mag": 5.5, "flag": True, "s": {"l": [{"x": 0.5, "t": "a"}]}}
    (file,) = land(decoded([json.dumps(alert).encode()] * 3), stamp_of(TOPIC), tmp_path)
    found = encodings(tmp_path / file.path)
    text = {"name", "s.l.list.element.t", "etl_run_id", "etl_rescued"}
    doubles = {"mag", "s.l.list.element.x"}
    assert text | doubles < found.keys()
    for name, used in found.items():
        assert ("RLE_DICTIONARY" in used) == (name in text), (name, used)
        assert ("BYTE_STREAM_SPLIT" in used) == (name in doubles), (name, used)
    chunks = column_chunks(tmp_path / file.path).values()
    assert {chunk.compression for chunk in chunks} == {"ZSTD"}
    assert all(chunk.is_stats_set for chunk in chunks)


@pytest.mark.parametrize(
    "alert",
    [
        {"a.b": 0.5, "a": {"b": "x"}},
        {"a.b": "x", "a": {"b": 0.5}},
        {"a.b": 0.5, "a": {"b": 1.5}},
        {"a.list.element": "x", "a": [0.5]},
        {"a": {"list": {"element": "x"}}, "a.list.element": True, "a.list": {"element": 1}},
        {".": 0.5, "..": "x", "a.": "y", ".a": 1.5},
        {"list": ["x"], "element": [0.5], "s": {"list": [[0.5]]}},
        {"key_value": [{"key": "k", "value": 0.5}]},
        {"kafka ": "x", "schema": 0.5, "ARROW:schema": "x"},
    ],
)
def test_ambiguous_names_keep_their_values(tmp_path: Path, alert: dict[str, Any]):
    """A dot in a name may make two Parquet paths the same: that costs an encoding, no value."""
    values = [json.dumps(alert).encode(), json.dumps(dict.fromkeys(alert)).encode(), b"{}"]
    (file,) = land(decoded([*values]), stamp_of(TOPIC), tmp_path)
    first, second, third = landed_rows(tmp_path, [file])
    assert {name: first[name] for name in alert} == alert
    assert {second[name] for name in alert} == {third[name] for name in alert} == {None}
    assert pq.read_table(tmp_path / file.path).num_rows == 3


def test_encodings_beside_an_ambiguous_name(tmp_path: Path):
    """Only the columns whose path is ambiguous lose their encoding."""
    alert = {"a.b": 0.5, "a": {"b": "x", "c": 0.5}, "t": "x"}
    (file,) = land(decoded([json.dumps(alert).encode()]), stamp_of(TOPIC), tmp_path)
    chunks = column_chunks(tmp_path / file.path)
    used = {name: set(chunk.encodings) for name, chunk in chunks.items()}
    ambiguous = [name for name in used if name.endswith(":a.b")]
    assert len(ambiguous) == 2
    for name in ambiguous:
        assert not used[name] & {"RLE_DICTIONARY", "BYTE_STREAM_SPLIT"}
    assert any("BYTE_STREAM_SPLIT" in s for name, s in used.items() if name.endswith(":a.c"))
    assert any("RLE_DICTIONARY" in s for name, s in used.items() if name.endswith(":t"))


def test_no_nan_reaches_a_file(tmp_path: Path):
    """NaN is NULL in the file, so that DuckDB's pruning is right; infinities and -0.0 stay."""
    values = [
        b'{"mag": %s, "l": [{"x": %s}]}' % (v, v) for v in (b"NaN", b"1e400", b"-1e400", b"-0.0")
    ]
    for given_values in (values, [value + b" " for value in values]):
        (file,) = land(decoded([*given_values]), stamp_of(TOPIC), tmp_path)
        chunk = next(
            c for n, c in column_chunks(tmp_path / file.path).items() if n.endswith(":mag")
        )
        assert (chunk.statistics.min, chunk.statistics.max) == (-math.inf, math.inf)
        assert chunk.statistics.null_count == 1
        rows = landed_rows(tmp_path, [file])
        assert [row["mag"] for row in rows] == [None, math.inf, -math.inf, -0.0]
        assert [row["l"] for row in rows] == [[{"x": row["mag"]}] for row in rows]


def test_row_groups_of_wide_alerts_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A row group holds so many rows, or so many bytes, whichever is less."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 10_000)
    groups = {}
    for size in (1, 1000, 100_000):
        table = pa.table({"text": ["x" * size] * 250})
        write_table(table, tmp_path / f"{size}.parquet", {})
        file = pq.ParquetFile(tmp_path / f"{size}.parquet").metadata
        groups[size] = [file.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups[1] == [100, 100, 50]
    assert set(groups[1000][:-1]) == {9}
    assert groups[100_000] == [1] * 250


def test_sliced_and_chunked_tables_are_written_whole(tmp_path: Path):
    """A table made of slices of others is written as what it shows, and no more."""
    whole = decoded([b'{"n": %d, "l": [%d]}' % (i, i) for i in range(10)]).table
    table = pa.concat_tables([whole.slice(7, 2), whole.slice(0, 0), whole.slice(2, 3)])
    write_table(table, tmp_path / "x.parquet", {})
    read = pq.read_table(tmp_path / "x.parquet")
    assert read.column("n").to_pylist() == [7, 8, 2, 3, 4]
    assert read.column("l").to_pylist() == [[7], [8], [2], [3], [4]]


# --------------------------------------------------------------------------------------- atomicity
def test_file_appears_only_when_complete(tmp_path: Path):
    """Until the last byte is on disk, nothing stands under the final name."""
    path = tmp_path / "new" / "folder" / "x.parquet"
    with atomic_file(path) as out:
        out.write(b"half")
        assert not path.exists()
        out.write(b"whole")
    assert path.read_bytes() == b"halfwhole"
    assert names_in(path.parent) == ["x.parquet"]


def write_and_fail(path: Path, failure: BaseException) -> None:
    """Fail in the middle of writing a file."""
    with atomic_file(path) as out:
        out.write(b"half")
        raise failure


@pytest.mark.parametrize("failure", [BROKEN_DISK, ValueError("a bug"), KeyboardInterrupt()])
def test_failure_leaves_nothing(tmp_path: Path, failure: BaseException):
    """A writer that fails leaves neither a file nor its temporary one, and harms no older one."""
    path = tmp_path / "x.parquet"
    path.write_bytes(b"old")
    wanted = LakeNotWritable if isinstance(failure, OSError) else type(failure)
    with pytest.raises(wanted):
        write_and_fail(path, failure)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["x.parquet"]


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_failure_at_each_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
):
    """Where the file system refuses to sync or to rename, nothing is left, and it is said where."""

    def refuse(*_: object, **__: object) -> None:
        raise BROKEN_DISK

    path = tmp_path / "x.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, refuse)
        with pytest.raises(LakeNotWritable, match=r"x\.parquet: No space left"), atomic_file(path):
            pass
    assert names_in(tmp_path) == []


def test_folder_that_is_a_file(tmp_path: Path):
    """A lake whose folder can't be made is said to be not writable, with its path."""
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(LakeNotWritable, match="data/kafka_topic"):
        land(decoded([b'{"n": 1}']), stamp_of(TOPIC), tmp_path)


def test_full_disk(tmp_path: Path):
    """A file that does not fit on the disk leaves nothing behind, and the error says so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    text = os.urandom(300_000).hex().encode()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(LakeNotWritable, match="nothing of it is visible"):
            land(decoded([b'{"text": "' + text + b'"}']), stamp_of(TOPIC), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_file_is_synced_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The bytes are on disk before the name is, and the name before anybody is told."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(kind)
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    with atomic_file(tmp_path / "a" / "x"):
        pass
    assert done == ["folder", "file", "rename", "folder"]


# ------------------------------------------------------------------------------------------- sweep
def test_sweep_deletes_a_killed_runs_files_and_no_others(tmp_path: Path):
    """Of a killed run only what is not registered is deleted; files of anyone else stay."""
    folder = landed_path(ALERTS, TOPIC, NIGHT, NIGHT, "dead", 0).rsplit("/", 1)[0]
    names = [
        "dead-0.parquet",
        "dead-1.parquet",
        ".dead-2.parquet.tmp",
        "dead-er-0.parquet",
        "dead-0-copy.parquet",
        "undead-0.parquet",
        ".dead-0.parquet",
        "alive-0.parquet",
        "note.txt",
        "dead.parquet",
    ]
    paths = [f"{folder}/{name}" for name in names]
    paths.append(landed_path(REJECTS, TOPIC, NIGHT, NIGHT, "dead", 3))
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    swept = sweep(tmp_path, ["dead"], {f"{folder}/dead-1.parquet"})
    gone = {path for path in paths if not (tmp_path / path).exists()}
    assert gone == set(swept)
    assert gone == {
        f"{folder}/dead-0.parquet",
        f"{folder}/.dead-2.parquet.tmp",
        landed_path(REJECTS, TOPIC, NIGHT, NIGHT, "dead", 3),
    }
