"""The published copy of the catalog, which readers open."""

import os
import shutil
from contextlib import suppress

from etl.errors import LakeNotWritable
from etl.lake.layout import Lake
from etl.lake.local import new_file, sync_folder

# Keeps an ordinary user from opening the public file for writing.
PUBLIC_MODE = 0o444


def publish_copy(lake: Lake) -> None:
    """Copy the closed catalog beside the public file, and put the copy in its place."""
    temporary = lake.root / ".alerts.duckdb.tmp"
    try:
        with lake.catalog.open("rb") as source, new_file(temporary) as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fchmod(target.fileno(), PUBLIC_MODE)
            os.fsync(target.fileno())
        temporary.replace(lake.public)
        lake.public_wal.unlink(missing_ok=True)
        sync_folder(lake.root)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LakeNotWritable(
            f"{lake.public}: {error.strerror or error}; what was read is safe in the catalog and "
            f"the next run publishes it"
        ) from error


def is_published(lake: Lake) -> bool:
    """Return whether the public file equals the closed catalog, byte for byte."""
    if lake.catalog_wal.exists() or lake.public_wal.exists() or not lake.public.exists():
        return False
    if lake.public.stat().st_mode & 0o777 != PUBLIC_MODE:
        return False
    with lake.catalog.open("rb") as one, lake.public.open("rb") as other:
        while True:
            left, right = one.read(1 << 20), other.read(1 << 20)
            if left != right:
                return False
            if not left:
                return True
