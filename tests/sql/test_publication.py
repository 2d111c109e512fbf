from pathlib import Path

import duckdb
import pytest

from etl.catalog.database import STORAGE_VERSION
from etl.catalog.publication import is_published
from etl.errors import LakeNotWritable
from tests.sql.lakes import Writer, alert


def test_what_is_not_folded_into_the_catalog_is_not_published_as_if(lake: Path) -> None:
    """While commits are only in the write-ahead log, the public file stays and the run fails."""
    writer = Writer(lake)
    writer.run([alert(1)])
    writer.catalog.publish()
    before = writer.lake.public.read_bytes()
    same: dict[str, str | bool | int | float | list[str]] = {
        "storage_compatibility_version": STORAGE_VERSION
    }
    with duckdb.connect(str(writer.lake.catalog), config=same) as other:
        # Another holder in this process keeps the database open when the catalog closes it.
        other.execute("SELECT 1")
        writer.run([alert(2)])
        with pytest.raises(LakeNotWritable, match="next run publishes"):
            writer.catalog.publish()
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
