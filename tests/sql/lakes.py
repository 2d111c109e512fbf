"""Small lakes made of real parts without a broker, and how to break them on purpose."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.catalog import checkpoint, define, known, runs
from etl.catalog.checkpoint import Checkpoint
from etl.catalog.database import Catalog
from etl.decode.batch import decode_batch
from etl.lake import land
from etl.lake.layout import Lake
from etl.records import (
    Batch,
    Figures,
    Gap,
    LandedFile,
    LastRecord,
    Position,
    RunState,
    Span,
    SpanCount,
)
from etl.schema.types import EMPTY, TopicSchema

NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)
PARTITIONS = 2


def alert(number: int) -> bytes:
    """Make an alert with nested numbers; every third has no r flux."""
    return (
        b'{"diaObjectId": %d, "ra": %d.25, "mag": %s, "UTC": "2026-02-14 13:41:02", '
        b'"alert": {"diaSourcesList": [{"psfFlux": 17.5, "band": "r"}, {"psfFlux": 1e3}]}}'
    ) % (313637935709683761 + number, number % 360, b"null" if number % 3 else b"20.5")


@cache
def _empty_catalog() -> bytes:
    """Make the catalog of a lake without topics, once: its views and macros take a while."""
    with TemporaryDirectory() as folder:
        catalog = Catalog.open(Lake(Path(folder)))
        with catalog.transaction():
            define.define_views(catalog, set(), Path(folder))
        catalog.close()
        return catalog.lake.catalog.read_bytes()


class Writer:
    """Writes a lake as drains do: batch by batch, a checkpoint at the end of each run."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.lake = Lake(root.resolve())
        if not self.lake.catalog.exists():
            self.lake.catalog.write_bytes(_empty_catalog())
        self.catalog = Catalog.open(self.lake)
        self.catalog.define("UPDATE etl.lake SET lake_id = uuid()::VARCHAR")
        self.catalog.write("register/set_root", [{"root": str(self.lake.root)}])
        self.schemas: dict[str, TopicSchema] = {}
        self.next: dict[tuple[str, int, int], int] = {}
        self.runs = 0

    def run(
        self,
        *batches: Sequence[bytes | None],
        topic: str = "lasair_one",
        incarnation: int = 1,
        hours: float = 0.0,
        lost: int = 0,
    ) -> str:
        """Write one run: each batch goes to the partitions in turn, `hours` after noon.

        `lost` offsets of partition 0 are a gap before the first batch.
        """
        self.runs += 1
        run_id = f"20260215T{self.runs:02}0000Z-0000000{self.runs}"
        now = (NOON + timedelta(hours=24 + self.runs)).replace(tzinfo=None)
        runs.open_run(self.catalog, run_id, now, "tests", "here", 1)
        new = [
            Position(topic, incarnation, p, 0, 0, "earliest", is_new=True)
            for p in range(PARTITIONS)
            if (topic, incarnation, p) not in self.next
        ]
        self.next |= {(p.topic, p.incarnation, p.partition): 0 for p in new}
        gaps = []
        if lost:
            start = self.next[topic, incarnation, 0]
            gaps = [Gap(Span(topic, incarnation, 0, start, start + lost), "dropped")]
            self.next[topic, incarnation, 0] += lost
        files: list[LandedFile] = []
        counts: list[SpanCount] = []
        last: dict[tuple[str, int], LastRecord] = {}
        for values in batches:
            batch = self._batch(values, topic, incarnation, hours)
            decoded, schema = decode_batch(batch, self.schemas.get(topic, EMPTY))
            self.schemas[topic] = schema
            stamp = land.Stamp(
                run_id=run_id,
                checkpoint=1,
                topic=topic,
                topic_id=None,
                incarnation=incarnation,
                schema_version=schema.version,
                ingested_at=now,
                night_starts=timedelta(hours=12),
                first_file=len(files) + 1,
                spans=batch.spans,
            )
            files += land.land(decoded, stamp, self.lake.root)
            counts += decoded.counts
            last |= {(topic, p): record for p, record in batch.last.items()}
        figures = Figures(
            checkpoints=1,
            alerts=sum(count.alerts for count in counts),
            rejects=sum(count.rejects for count in counts),
            tombstones=sum(count.tombstones for count in counts),
            absent=sum(count.absent for count in counts),
            lost=lost,
            files=len(files),
            bytes=sum(file.size_bytes for file in files),
        )
        step = Checkpoint(
            run_id=run_id,
            number=1,
            now=now,
            incarnations={topic: incarnation},
            topic_ids={topic: None},
            new=new,
            files=files,
            counts=counts,
            gaps=gaps,
            last=last,
            schemas=self.schemas,
        )
        ended = RunState("done", now + timedelta(seconds=5), 0)
        checkpoint.checkpoint(self.catalog, step, figures, ended, self.lake.root)
        return run_id

    def _batch(
        self, values: Sequence[bytes | None], topic: str, incarnation: int, hours: float
    ) -> Batch:
        partitions = [row % PARTITIONS for row in range(len(values))]
        offsets = []
        starts = {p: self.next[topic, incarnation, p] for p in range(PARTITIONS)}
        for partition in partitions:
            offsets.append(self.next[topic, incarnation, partition])
            self.next[topic, incarnation, partition] += 1
        sent_ms = int((NOON + timedelta(hours=hours)).timestamp() * 1000)
        return Batch(
            topic,
            incarnation,
            partitions,
            offsets,
            [sent_ms + row for row in range(len(values))],
            list(values),
            tuple(
                Span(topic, incarnation, p, starts[p], self.next[topic, incarnation, p])
                for p in range(PARTITIONS)
                if self.next[topic, incarnation, p] > starts[p]
            ),
            last={
                p: LastRecord(self.next[topic, incarnation, p] - 1, sent_ms, b"0" * 16)
                for p in set(partitions)
            },
        )

    def close(self) -> Lake:
        """Publish and let go."""
        self.catalog.publish()
        self.catalog.close()
        return self.lake


def build(root: Path) -> Lake:
    """Make a lake with two topics, two nights, a second incarnation and odd messages."""
    writer = Writer(root)
    writer.run([alert(n) for n in range(8)], [alert(n) for n in range(8, 16)])
    writer.run([alert(16), b"not json", None, alert(17)], hours=14, lost=3)
    writer.run([alert(20), alert(21)], topic="lasair_two")
    writer.run([alert(n) for n in range(30, 34)], topic="lasair_two", incarnation=2, hours=30)
    return writer.close()


@contextmanager
def altered(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published file for writing, as nobody should."""
    lake.public.chmod(0o644)
    with duckdb.connect(str(lake.public)) as connection:
        yield connection


def rewrite(lake: Lake, change: Callable[[pa.Table], pa.Table], kind: str = "data") -> str:
    """Change one alert file behind the catalog's back, keeping its path; give that path.

    The catalog is told the new size, so that only what the rows say can give it away.
    """
    path = min((lake.root / kind).rglob("*.parquet"))
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    relative = path.relative_to(lake.root).as_posix()
    with altered(lake) as connection:
        connection.execute(
            "UPDATE etl.files SET bytes = ? WHERE path = ?", [path.stat().st_size, relative]
        )
    return relative


def replaced(
    table: pa.Table, column: str, values: Callable[[list[object]], list[object]]
) -> pa.Table:
    """Give a table with one column's values changed."""
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values(table.column(at).to_pylist()), field.type))


def copied(lake: Lake, to: Path) -> Lake:
    """Copy a lake, and have it published anew as the next drain would."""
    copy = Lake(Path(shutil.copytree(lake.root, to)).resolve())
    catalog = Catalog.open(copy)
    with catalog.transaction():
        define.define_views(catalog, set(known.known_topics(catalog)), copy.root)
        catalog.write("register/set_root", [{"root": str(copy.root)}])
    catalog.publish()
    catalog.close()
    return copy


def moved(lake: Lake, to: Path) -> Lake:
    """Move a lake as a user would: `mv`."""
    return Lake(Path(shutil.move(lake.root, to)).resolve())
