import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etl.errors import LakeNotWritable
from etl.execute.threads import Pipeline
from etl.lake.parquet import FOOTER_KEY
from etl.records import Batch, Span

FEBRUARY_MS = 1_771_070_400_000
TOPIC = "lasair_1t"


def batch(start: int, *values: bytes) -> Batch:
    """Make a batch of partition 0 that begins at an offset."""
    size = len(values)
    return Batch(
        topic=TOPIC,
        incarnation=1,
        partitions=[0] * size,
        offsets=list(range(start, start + size)),
        timestamps_ms=[FEBRUARY_MS] * size,
        values=list(values),
        spans=(Span(TOPIC, 1, 0, start, start + size),),
    )


def pipeline(lake: Path) -> Pipeline:
    """Make a pipeline into a lake that has seen no alert yet."""
    return Pipeline(lake, "run", "lake", {TOPIC: "id"}, timedelta(hours=12), {}, {})


def test_batches_land_in_order(tmp_path: Path) -> None:
    """What is submitted first lands first, under the lower number, without its messages."""
    with pipeline(tmp_path) as running:
        for start in range(20):
            running.submit(batch(start, b'{"a": 1}'), checkpoint=1)
        landed = list(running.take())
        assert running.is_empty
    assert [each.batch.spans[0].start for each in landed] == list(range(20))
    assert [each.files[0].path.rpartition("run-")[2] for each in landed] == [
        f"{number}.parquet" for number in range(1, 21)
    ]
    assert all(each.batch.values == [] for each in landed)


def test_a_schema_is_learnt_from_batch_to_batch(tmp_path: Path) -> None:
    """A later batch is decoded to the columns of all earlier ones."""
    with pipeline(tmp_path) as running:
        running.submit(batch(0, b'{"a": 1}'), checkpoint=1)
        running.submit(batch(1, b'{"b": "x"}'), checkpoint=1)
        first, second = running.take()
    assert (first.schema.version, second.schema.version) == (1, 2)
    names = pq.read_schema(tmp_path / second.files[0].path).names
    assert {"a", "b"} <= set(names)


def test_files_name_the_checkpoint_that_registers_them(tmp_path: Path) -> None:
    """The checkpoint in a file's footer is the one that its batch was submitted with."""
    with pipeline(tmp_path) as running:
        running.submit(batch(0, b'{"a": 1}'), checkpoint=1)
        running.submit(batch(1, b'{"a": 2}'), checkpoint=7)
        paths = [tmp_path / landed.files[0].path for landed in running.take()]
    footers = [json.loads(pq.read_metadata(path).metadata[FOOTER_KEY]) for path in paths]
    assert [footer["checkpoint"] for footer in footers] == [1, 7]


def test_taking_waits_only_for_what_is_too_many(tmp_path: Path) -> None:
    """`take` leaves as many batches under way as it is told."""
    with pipeline(tmp_path) as running:
        for start in range(3):
            running.submit(batch(start, b'{"a": 1}'), checkpoint=1)
        assert len(list(running.take(2))) == 1
        assert len(list(running.take(2))) == 0
        assert len(list(running.take())) == 2


def test_what_fails_in_a_thread_fails_where_it_is_taken(tmp_path: Path) -> None:
    """A lake that can't be written stops the caller, and the threads end."""
    (tmp_path / "data").touch()
    with pipeline(tmp_path) as running:
        running.submit(batch(0, b'{"a": 1}'), checkpoint=1)
        with pytest.raises(LakeNotWritable):
            list(running.take())
