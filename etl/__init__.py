"""Carry Lasair's alert streams from Kafka into a lake of Parquet files that DuckDB can query.

Each folder is a room with one purpose. A drain (`jobs`) reads batches from the broker (`kafka`),
turns them into Arrow tables (`decode`) and Parquet files (`lake`), and registers these in DuckDB
(`catalog`). `read`, `report` and `audit` use what it published; `cli` is the command line.
"""

from os import PathLike
from typing import TYPE_CHECKING

from etl.version import __version__ as __version__

if TYPE_CHECKING:
    from etl.read.open_lake import OpenLake


def open(  # noqa: A001  (etl.open reads as it should)
    lake: str | PathLike[str], *, sandboxed: bool = False
) -> "OpenLake":
    """Open a lake for reading, for as long as you like: it never makes a drain wait.

    Parameters
    ----------
    lake
        The folder that `lasair-etl drain` fills.
    sandboxed
        For SQL that somebody else wrote, in a shared page say: it can only select, and reaches
        nothing but the lake's views: no other file, no network, no extension, no setting.

    Raises
    ------
    etl.errors.EtlError
        There is no lake, nothing is published yet, or the lake has moved; the message says what
        to do.

    Examples
    --------
    >>> lake = etl.open("demo-lake")  # doctest: +SKIP
    >>> lake.sql("SELECT night, count(*) FROM alerts GROUP BY night").df()  # doctest: +SKIP
    """
    from etl.read.open_lake import OpenLake  # noqa: PLC0415  (importing etl costs nothing)

    return OpenLake(lake, sandboxed=sandboxed)
