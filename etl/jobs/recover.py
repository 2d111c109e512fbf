"""What every writer does first, and when it fails: leave nothing that the next run has to mend."""

import logging
from datetime import datetime
from pathlib import Path

from etl.catalog import define, known, runs
from etl.catalog.database import Catalog
from etl.catalog.publication import is_published
from etl.errors import EtlError
from etl.lake.layout import Lake
from etl.records import Figures, RunState, utc_now

log = logging.getLogger(__name__)


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
        runs.close_killed_runs(catalog, killed, now)
    moved = catalog.rows("queries/lake")[0][1] != str(root)
    if moved:
        with catalog.transaction():
            define.define_views(catalog, set(known.known_topics(catalog)), root)
            catalog.write("register/set_root", [{"root": str(root)}])
    if behind or moved or killed:
        catalog.publish()


def sweep_unregistered(catalog: Catalog, run_id: str) -> list[str]:
    """Delete the files of a run that it did not come to register."""
    from etl.lake import local  # noqa: PLC0415 - slow, and seldom needed

    registered = {path for (path,) in catalog.rows("queries/files_of_run", run_id=run_id)}
    return local.sweep(catalog.lake.root, [run_id], registered)


def record_failure(catalog: Catalog, run_id: str, figures: Figures, error: EtlError) -> None:
    """Leave a failed run behind that the next one need not tidy up; best effort."""
    try:
        sweep_unregistered(catalog, run_id)
        state = RunState("failed", utc_now(), error.exit_code, str(error))
        with catalog.transaction():
            runs.update_run(catalog, run_id, figures, state)
        catalog.publish()
    except (EtlError, OSError) as second:
        log.warning("the failed run could not be recorded: %s", second)
