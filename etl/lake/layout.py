"""Where things lie in the lake. Nothing here writes; the checks only look."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from etl.errors import WrongSettings
from etl.records import ALERTS, REJECTS, StoredFile
from etl.text.words import is_plain

FOLDERS = {ALERTS: "data", REJECTS: "rejects"}


@dataclass(frozen=True, slots=True)
class Lake:
    """A lake's paths; `root` is absolute."""

    root: Path

    @property
    def catalog(self) -> Path:
        """The private catalog, which only the writer opens."""
        return self.root / "catalog.duckdb"

    @property
    def catalog_wal(self) -> Path:
        """DuckDB's write-ahead log of the catalog; a killed run leaves it behind."""
        return self.root / "catalog.duckdb.wal"

    @property
    def public(self) -> Path:
        """The published copy, which readers open."""
        return self.root / "alerts.duckdb"

    @property
    def public_wal(self) -> Path:
        """The write-ahead log of a reader who opened the published copy for writing."""
        return self.root / "alerts.duckdb.wal"

    def has_files(self) -> bool:
        """Return whether any Parquet file is in the lake."""
        folders = (self.root / folder for folder in FOLDERS.values())
        return any(next(folder.glob("*/*/*.parquet"), None) for folder in folders)


def lake_at(path: Path) -> Lake:
    """Return the lake at a path, with `~` written out and links followed.

    Raises
    ------
    WrongSettings
        DuckDB could not open the catalog there, or no path is like this.
    """
    try:
        root = path.expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # nobody's home, a loop of links, a NUL
        raise WrongSettings(f"{str(path)!a}: not the path of a folder: {error}") from error
    if not is_plain(str(root)):
        raise WrongSettings(f"{str(root)!a}: not UTF-8, as DuckDB needs; rename the folder")
    for character, meaning in (("?", "the end of a file's name"), ("\\", "'/'")):
        if character in str(root):
            raise WrongSettings(
                f"{root}: DuckDB takes '{character}' in a path for {meaning}; rename the folder"
            )
    return Lake(root)


def check_path(root: Path) -> None:
    """Refuse a path that has the form of a partition: DuckDB would add it as a column."""
    odd = [part for part in root.parts if "=" in part]
    if odd:
        raise WrongSettings(
            f"{root}: DuckDB takes a folder named {odd[0]} for a column of every alert; choose a "
            f"path without '='"
        )


def check_catalog(lake: Lake) -> None:
    """Refuse a lake that has files but no catalog: starting over would store all alerts twice."""
    if lake.catalog.exists() or not (lake.public.exists() or lake.has_files()):
        return
    raise WrongSettings(
        f"{lake.root}: has files but no {lake.catalog.name}, and nothing was touched; "
        f"{way_out(lake, published=lake.public.exists())}"
    )


def way_out(lake: Lake, *, published: bool) -> str:
    """Return how to repair a lake whose catalog can't be used; `published`: by the public copy."""
    if not published:
        return "restore it from a backup, or drain into a new lake under a new group_id"
    catalog, wal, public = lake.catalog.name, lake.catalog_wal.name, lake.public.name
    return (
        f"remove {wal} and copy {public} to {catalog} (it is the catalog as last published, and "
        f"what it lacks is read again): cd {shlex.quote(str(lake.root))} && rm -f {wal} && "
        f"cp {public} {catalog}"
    )


def landed_path(kind: str, topic: str, first: date, last: date, run_id: str, number: int) -> str:
    """Return the path of a file relative to the lake: in its night's folder, or its first month's.

    A topic's name needs no escape: Kafka allows no character that does.
    """
    folder = f"night={first}" if first == last else str(first)[: len("2026-02")]
    return f"{FOLDERS[kind]}/kafka_topic={topic}/{folder}/{run_id}-{number}.parquet"


def merged_path(files: Sequence[StoredFile], run_id: str, number: int) -> str:
    """Return the path of the file that replaces these."""
    first, last = min(f.night for f in files), max(f.last_night for f in files)
    return landed_path(files[0].kind, files[0].topic, first, last, run_id, number)


def view_root(public_root: Path | None, lake: Lake) -> Path:
    """Return the absolute path that views name: `public_root`, which must be this lake too."""
    if public_root is None:
        return lake.root
    root = public_root
    if not root.is_absolute() or not root.is_dir() or not root.samefile(lake.root):
        raise WrongSettings(
            f"public_root: {root} is not this lake under another name; make it a link to or a "
            f"mount of {lake.root} here too, since DuckDB looks at the files when a view is made"
        )
    return root
