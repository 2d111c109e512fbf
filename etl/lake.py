"""Where things are in the lake, and the lock that lets one writer in at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etl.errors import LakeBusy, LakeNotWritable, WrongSettings


@dataclass(frozen=True, slots=True)
class Lake:
    """The paths of a lake; `root` is absolute."""

    root: Path

    @property
    def catalog(self) -> Path:
        """The private catalog, which only the writer opens."""
        return self.root / "catalog.duckdb"

    @property
    def catalog_wal(self) -> Path:
        """DuckDB's write-ahead log of the catalog, there after a kill."""
        return self.root / "catalog.duckdb.wal"

    @property
    def public(self) -> Path:
        """The published copy, which readers open."""
        return self.root / "alerts.duckdb"

    @property
    def public_wal(self) -> Path:
        """What a reader leaves who opened the public file for writing."""
        return self.root / "alerts.duckdb.wal"

    def has_files(self) -> bool:
        """Say whether any Parquet file is in the lake."""
        return any(
            next((self.root / folder).glob("*/*/*.parquet"), None) for folder in ("data", "rejects")
        )


@contextmanager
def locked(lake: Lake) -> Iterator[None]:
    """Hold the lake's lock; it falls with the process, however that ends.

    Raises
    ------
    LakeBusy
        Another run is at work; the message names its process.
    LakeNotWritable
        The lake can't be made or written.
    """
    try:
        lake.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lake.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LakeNotWritable(
            f"{lake.root}: {error.strerror or error}; choose another --lake or mend its permissions"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise LakeBusy(
                f"{lake.root}: another run is at work (process {holder}); the next one will go on"
            ) from None
        except OSError as error:
            raise LakeNotWritable(
                f"{lake.root}: no lock to be had here ({error.strerror}); use a local file system"
            ) from error
        _write_holder(descriptor, lake)
        yield
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, lake: Lake) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    except OSError as error:
        raise LakeNotWritable(f"{lake.root}: {error.strerror or error}; free some space") from error


def check_path(root: Path) -> None:
    """Refuse a path in which DuckDB would see partitions that are none of ours."""
    odd = [part for part in root.parts if "=" in part]
    if odd:
        raise WrongSettings(
            f"{root}: DuckDB takes a folder named {odd[0]} for a column of every alert; choose a "
            f"path without '='"
        )


def check_catalog(lake: Lake) -> None:
    """Refuse a lake that has files but no catalog: starting over would double everything."""
    if lake.catalog.exists() or not lake.has_files():
        return
    way_out = (
        f"copy {lake.public.name} to {lake.catalog.name} (it is the catalog as last published)"
        if lake.public.exists()
        else "restore it from a backup, or drain into a new lake under a new group_id"
    )
    raise WrongSettings(
        f"{lake.root}: has files but no {lake.catalog.name}, and nothing was touched; {way_out}"
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
