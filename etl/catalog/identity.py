"""Which of two copies of a lake's catalog is the newer one: an older one never replaces it."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from etl.catalog.damage import translated
from etl.errors import EtlError, WrongSettings
from etl.lake.layout import Lake, way_out
from etl.statements import sql_text


@dataclass(frozen=True, slots=True)
class Identity:
    """Which lake a file is of, and how many transactions it holds; none of before 0003."""

    lake_id: str | None = None
    generation: int = 0


def check_order(lake: Lake) -> None:
    """Refuse a catalog that is older than the published file, or of another lake.

    A published file that can't be read, or is of before generations, says nothing.

    Raises
    ------
    WrongSettings
        The published file would be replaced by something older; nothing was touched.
    """
    if not (lake.catalog.exists() and lake.public.exists()):
        return
    catalog = _identity(lake, lake.catalog)
    lake.public_wal.unlink(missing_ok=True)  # a reader's, who opened the file for writing
    try:
        published = _identity(lake, lake.public)
    except EtlError:
        return
    if published.lake_id is None:
        return
    if catalog.lake_id not in (None, published.lake_id):
        wrong = f"{lake.catalog.name} is of another lake than {lake.public.name}"
    elif catalog.generation < published.generation:
        wrong = (
            f"{lake.catalog.name} is older (generation {catalog.generation}) than "
            f"{lake.public.name} (generation {published.generation}), as if restored from a backup"
        )
    else:
        return
    raise WrongSettings(
        f"{lake.root}: {wrong}, and nothing was touched; {way_out(lake, published=True)}"
    )


def _identity(lake: Lake, path: Path) -> Identity:
    """Read a file, with its write-ahead log, and leave both as they are."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            columns = connection.execute("SELECT * FROM etl.lake").description or ()
            if "generation" not in [column[0] for column in columns]:
                return Identity()
            return Identity(*connection.execute(sql_text("queries/identity")).fetchall()[0])
    except duckdb.CatalogException:
        return Identity()  # killed before its first migration, or no catalog: opening it says so
    except duckdb.Error as error:
        raise translated(error, lake) from error
