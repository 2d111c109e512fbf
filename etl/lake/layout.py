"""Where things are in the lake, and the lock that lets one writer in at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from etl.errors import WrongSettings
from etl.records import ALERTS, REJECTS, StoredFile

FOLDERS = {ALERTS: "data", REJECTS: "rejects"}


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


def landed_path(kind: str, topic: str, night: date, run_id: str, number: int) -> str:
    """Name a file of the lake; `topic` is a Kafka name, which has no character to escape."""
    return f"{FOLDERS[kind]}/kafka_topic={topic}/night={night}/{run_id}-{number}.parquet"


def merged_path(files: Sequence[StoredFile], run_id: str, number: int) -> str:
    """Name the file that holds all of these: below its night, or its month where they have more."""
    nights = {f.night for f in files} | {f.last_night for f in files}
    first = min(nights)
    folder = f"night={first}" if len(nights) == 1 else f"{first:%Y-%m}"
    kind, topic = files[0].kind, files[0].topic
    return f"{FOLDERS[kind]}/kafka_topic={topic}/{folder}/{run_id}-{number}.parquet"


def view_root(public_root: Path | None, lake: Lake) -> Path:
    """Give the absolute path that the views name; `public_root` must be this lake too."""
    if public_root is None:
        return lake.root
    lake.root.mkdir(parents=True, exist_ok=True)
    root = public_root
    if not root.is_absolute() or not root.is_dir() or not root.samefile(lake.root):
        raise WrongSettings(
            f"public_root: {root} is not this lake under another name; make it a link to or a "
            f"mount of {lake.root} here too, since DuckDB looks at the files when a view is made"
        )
    return root
