"""What every job does first, and when it fails: leave nothing for the next run to mend."""

import logging
from datetime import datetime
from pathlib import Path

from etl.catalog import define, known, runs
from etl.catalog.database import Catalog
from etl.catalog.identity import check_order
from etl.catalog.publication import is_published
from etl.errors import EtlError
from etl.lake.layout import Lake
from etl.records import Figures, RunState, utc_now

log = logging.getLogger(__name__)


def open_recovered(lake: Lake, root: Path, now: datetime) -> Catalog:
    """Open the catalog of a locked lake, and remove what killed runs left."""
    behind = not (lake.catalog.exists() and is_published(lake))
    if behind:
        check_order(lake)
    catalog = Catalog.open(lake)
    try:
        if behind:
            catalog.read_whole()
        changed = [close_killed_runs(catalog, now), move_views(catalog, root)]
        if behind or any(changed):
            catalog.publish()
    except BaseException:
        catalog.close()
        raise
    return catalog


def close_killed_runs(catalog: Catalog, now: datetime) -> bool:
    """Delete the unregistered files of runs that are still open; whether there were any."""
    killed = [run_id for (run_id,) in catalog.rows("queries/open_runs")]
    for run_id in killed:
        swept = sweep_unregistered(catalog, run_id)
        log.info("run %s was killed; deleted %d unregistered files of it", run_id, len(swept))
    if killed:
        runs.close_killed_runs(catalog, killed, now)
    return bool(killed)


def move_views(catalog: Catalog, root: Path) -> bool:
    """Define all views anew where the lake has another path than before; whether it has."""
    if catalog.rows("queries/lake")[0][1] == str(root):
        return False
    with catalog.transaction():
        define.define_views(catalog, set(known.known_topics(catalog)), root)
        catalog.write("register/set_root", [{"root": str(root)}])
    return True


def sweep_unregistered(catalog: Catalog, run_id: str) -> list[str]:
    """Delete the files of a run that it did not register."""
    from etl.lake import local  # noqa: PLC0415 - slow, and seldom needed

    registered = {path for (path,) in catalog.rows("queries/files_of_run", run_id=run_id)}
    return local.sweep(catalog.lake.root, [run_id], registered)


def record_failure(catalog: Catalog, run_id: str, figures: Figures, error: EtlError) -> None:
    """Close a failed run, so that the next one has nothing to clean up; best effort."""
    try:
        sweep_unregistered(catalog, run_id)
        state = RunState("failed", utc_now(), error.exit_code, str(error))
        with catalog.transaction():
            runs.update_run(catalog, run_id, figures, state)
        catalog.publish()
    except (EtlError, OSError) as second:
        log.warning("the failed run could not be recorded: %s", second)
