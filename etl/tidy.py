"""What every writer does first, and when it fails: leave nothing that the next run has to mend."""

import logging
import secrets
from datetime import UTC, datetime
from pathlib import Path

from etl import register
from etl.catalog import Catalog, is_published
from etl.errors import EtlError, WrongSettings
from etl.lake import Lake
from etl.register import Figures, RunState

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Give the time in UTC as the lake stores it: without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def new_run_id(now: datetime) -> str:
    """Name a run: when it began, and what no other run has."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


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


def open_tidy(lake: Lake, root: Path, now: datetime) -> Catalog:
    """Open the catalog of a lake whose lock is held, and leave nothing of killed runs."""
    behind = not (lake.catalog.exists() and is_published(lake))
    catalog = Catalog.open(lake)
    try:
        _tidy_up(catalog, root, now, behind=behind)
    except BaseException:
        catalog.close()
        raise
    return catalog


def _tidy_up(catalog: Catalog, root: Path, now: datetime, *, behind: bool) -> None:
    """Delete what killed runs left, and bring the public copy up to date."""
    killed = [run_id for (run_id,) in catalog.rows("queries/open_runs")]
    for run_id in killed:
        swept = sweep_unregistered(catalog, run_id)
        log.info("run %s was killed; %d unregistered files of it deleted", run_id, len(swept))
    if killed:
        register.close_killed_runs(catalog, killed, now)
    moved = catalog.rows("queries/lake")[0][1] != str(root)
    if moved:
        with catalog.transaction():
            register.define_views(catalog, set(register.known_topics(catalog)), root)
            catalog.write("register/set_root", [{"root": str(root)}])
    if behind or moved or killed:
        catalog.publish()


def sweep_unregistered(catalog: Catalog, run_id: str) -> list[str]:
    """Delete the files of a run that it did not come to register."""
    from etl import land  # noqa: PLC0415 - slow, and seldom needed

    registered = {path for (path,) in catalog.rows("queries/files_of_run", run_id=run_id)}
    return land.sweep(catalog.lake.root, [run_id], registered)


def record_failure(catalog: Catalog, run_id: str, figures: Figures, error: EtlError) -> None:
    """Leave a failed run behind that the next one need not tidy up; best effort."""
    try:
        sweep_unregistered(catalog, run_id)
        state = RunState("failed", utc_now(), error.exit_code, str(error))
        with catalog.transaction():
            register.update_run(catalog, run_id, figures, state)
        catalog.publish()
    except (EtlError, OSError) as second:
        log.warning("the failed run could not be recorded: %s", second)
