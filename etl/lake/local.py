"""Files on a local file system: whole or not at all, and one writer at a time."""

import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from etl.errors import LakeBusy, LakeNotWritable, WrongSettings
from etl.lake.layout import FOLDERS, Lake


@contextmanager
def locked(lake: Lake) -> Iterator[None]:
    """Make the lake's folder and hold its lock, which ends with the process at the latest.

    Raises
    ------
    LakeBusy
        Another run is at work; the message names its process.
    LakeNotWritable
        The lake can't be made or written.
    WrongSettings
        A link, or what else is no regular file, bears the name of a file that the lake writes.
    """
    lock = lake.root / ".lock"
    try:
        lake.root.mkdir(parents=True, exist_ok=True)
        for path in (lock, lake.catalog, lake.catalog_wal, lake.public, lake.public_wal):
            check_regular(path)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
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
                f"{lake.root}: can't be locked ({error.strerror}); use a local file system"
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


def check_regular(path: Path) -> None:
    """Refuse a name of the lake's own under which something lies that must not be written to."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
        raise WrongSettings(
            f"{path}: {kind}, and nothing was touched; the lake writes a file of this name: move "
            f"what lies there away"
        )


def new_file(path: Path) -> BinaryIO:
    """Open a new file of the lake's own; what lay under its name goes, and no link is followed."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def sync_folder(folder: Path) -> None:
    """Write a folder's names to disk, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that gets its name only when it is complete and on disk.

    A temporary name, fsync, rename, fsync of the folder.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _make_folder(path.parent)
        try:
            with new_file(temporary) as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise LakeNotWritable(
            f"{path}: {error.strerror or error}; nothing of it is visible"
        ) from error


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sweep(lake: Path, run_ids: Iterable[str], registered: set[str]) -> list[str]:
    """Delete the unregistered files of killed runs, which their names tell; return their paths."""
    swept = []
    for run_id in run_ids:
        name = rf"{re.escape(run_id)}-\d+\.parquet"
        own = re.compile(rf"{name}|\.{name}\.tmp")
        for folder in FOLDERS.values():
            for path in (lake / folder).glob(f"*/*/*{run_id}-*"):
                relative = path.relative_to(lake).as_posix()
                if relative not in registered and own.fullmatch(path.name):
                    path.unlink()
                    swept.append(relative)
    return swept
