import resource
from pathlib import Path

import duckdb
import pytest

from etl.audit.verify import verify
from etl.catalog.publication import is_published
from etl.errors import LakeNotWritable
from etl.lake.layout import Lake
from tests.sql.lakes import Writer, alert


def test_what_is_not_folded_into_the_catalog_is_not_published_as_if(lake: Path) -> None:
    """While commits are only in the write-ahead log, the public file stays and the run fails."""
    writer = Writer(lake)
    writer.run([alert(1)])
    writer.catalog.publish()
    before = writer.lake.public.read_bytes()
    writer.run([alert(2)])
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, kept[1]))  # as if the disk were full
    try:
        with pytest.raises(LakeNotWritable, match=r"\.wal: DuckDB could not write it"):
            writer.catalog.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert writer.lake.public.read_bytes() == before
    writer.catalog.publish()
    writer.catalog.close()
    assert is_published(writer.lake)


def test_fields_learnt_inside_a_column_left_out_are_left_out_too(lake: Path) -> None:
    """`etl.columns` says of every field, early or late, whether the view alerts has it."""
    writer = Writer(lake)
    writer.run([b'{"x": {"a": 1}, "y": 1}'], topic="lasair_one")
    writer.run([b'{"x": "text", "y": 2}'], topic="lasair_two")
    writer.run([b'{"x": {"a": 1, "b": {"c": 2}}, "y": 1}'], topic="lasair_one")
    writer.catalog.publish()
    writer.catalog.close()
    with duckdb.connect(str(writer.lake.public), read_only=True) as reader:
        rows = reader.execute("SELECT topic, path, in_alerts FROM etl.columns").fetchall()
    said = {(topic, path): part for topic, path, part in rows}
    assert said["lasair_one", "y"]
    for path in ("x", "x.a", "x.b", "x.b.c"):
        assert not said["lasair_one", path], path
    assert not said["lasair_two", "x"]


def test_a_field_that_topics_spell_differently_is_in_alerts_for_none(lake: Path) -> None:
    """Upper and lower case are one name to DuckDB, so no spelling is in the view alerts."""
    spellings = ("diaObject", "DiaObject", "diaobject")
    writer = Writer(lake)
    for turn in range(2):
        for number, name in enumerate(spellings):
            nested = f'{{"{name}": {turn}, "s": {{"{name}": 1}}, "same": 1}}'.encode()
            writer.run([nested], topic=f"lasair_{number}")
    lists = b'{"objectId": "a", "alert": {"diaSourcesList": [{"%s": 1, "midpointMjdTai": 1.5}]}}'
    for number, listed in enumerate((b"snr", b"SNR")):
        writer.run([lists % listed], topic=f"lasair_list_{number}")
    writer.close()
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as reader:
        rows = reader.execute("SELECT path, bool_or(in_alerts) FROM etl.columns GROUP BY path")
        said = dict(rows.fetchall())
    assert {path for path, part in said.items() if part} == {"UTC", "same", "objectId"}
    assert {*spellings, *(f"s.{name}" for name in spellings)} < set(said)
    assert verify(writer.lake).complaints == ()


def test_spelling_that_differs_is_seen_when_the_second_topic_comes(lake: Path) -> None:
    """A field leaves the view alerts as soon as another topic spells it differently."""
    writer = Writer(lake)
    writer.run([b'{"diaObject": 1}'], topic="ca")
    assert verify(published(writer)).complaints == ()
    writer.run([b'{"DiaObject": 1}'], topic="cb")
    assert verify(published(writer)).complaints == ()
    writer.close()


def published(writer: Writer) -> Lake:
    """Publish what is committed, and give the lake."""
    writer.catalog.publish()
    return writer.lake
