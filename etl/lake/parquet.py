"""The form that Parquet files have in the lake."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import DataAtRisk
from etl.lake.local import atomic_file
from etl.records import StoredFile
from etl.schema.columns import leaves
from etl.schema.paths import ELEMENT

ROW_GROUP_ROWS = 122_880

# A row group of wide alerts has fewer rows, so that a reader needs little memory.
ROW_GROUP_BYTES = 64_000_000

# The origin of a file's rows stands in its footer under this key, as JSON.
FOOTER_KEY = b"lasair_etl"


def write_table(table: pa.Table, path: Path, footer: Mapping[bytes, bytes]) -> int:
    """Write one Parquet file, whole or not at all; return its size in bytes."""
    with atomic_file(path) as out, parquet_writer(out, table.schema) as writer:
        writer.write_table(table, group_rows(table, ROW_GROUP_ROWS))
        writer.add_key_value_metadata(footer)
    return path.stat().st_size


def group_rows(table: pa.Table, most: int) -> int:
    """Return how many rows of this table make a row group: `most`, or fewer where they are wide."""
    per_row: int = max(1, table.nbytes // max(1, table.num_rows))
    return min(most, max(1, ROW_GROUP_BYTES // per_row))


def parquet_writer(out: BinaryIO, schema: pa.Schema, **more: Any) -> pq.ParquetWriter:
    """Open a new Parquet file in the lake's form: small, quick to read, every value exact."""
    numbers = _leaf_paths(schema, pa.types.is_float64)
    return pq.ParquetWriter(
        out,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=_leaf_paths(schema, pa.types.is_string),
        column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
        store_schema=False,  # that of a wide alert is long
        write_statistics=True,
        **more,
    )


def _leaf_paths(schema: pa.Schema, wanted: Any) -> list[str]:
    """Return the Parquet paths of the leaves of one type, without ambiguous ones."""
    paths = [
        (".".join("list.element" if part is ELEMENT else part for part in path), arrow)
        for path, arrow in leaves(pa.struct(list(schema)))
        if not pa.types.is_nested(arrow)
    ]
    times = Counter(name for name, _ in paths)
    return [name for name, arrow in paths if wanted(arrow) and times[name] == 1]


@contextmanager
def open_parquet(file: StoredFile, lake: Path) -> Iterator[pq.ParquetFile]:
    """Open a registered file.

    Raises
    ------
    DataAtRisk
        It is not what the catalog says, or can't be read.
    """
    path = lake / file.path
    try:
        if path.stat().st_size != file.size_bytes:
            raise DataAtRisk(f"{file.path}: not {file.size_bytes} bytes, as registered")
        with pq.ParquetFile(path) as opened:
            if opened.metadata.num_rows != file.rows:
                raise DataAtRisk(f"{file.path}: not {file.rows} rows, as registered")
            yield opened
    except (OSError, pa.ArrowException) as error:
        raise DataAtRisk(f"{file.path}: can't be read: {error}") from error
