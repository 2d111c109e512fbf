"""The table `etl.runs`: a run opens, goes on, and ends or is killed."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from etl.catalog.database import Catalog
from etl.records import Figures, RunState

HOUR = timedelta(hours=1)


def open_run(
    catalog: Catalog,
    run_id: str,
    now: datetime,
    group_id: str | None,
    host: str,
    pid: int,
    night_starts: timedelta | None = None,
) -> None:
    """Record a run as open, before its first file; a compaction has no group and files nothing."""
    run = {"run_id": run_id, "started_at": now, "group_id": group_id, "host": host, "pid": pid}
    hours = night_starts / HOUR if night_starts is not None else None
    with catalog.transaction():
        catalog.write("register/open_run", [run | {"night_starts": hours}])


def close_killed_runs(catalog: Catalog, run_ids: Sequence[str], now: datetime) -> None:
    """Record that runs marked open were killed."""
    with catalog.transaction():
        killed = {"ended_at": now, "message": "killed; the next run tidied up"}
        catalog.write("register/fail_run", [{"run_id": run_id} | killed for run_id in run_ids])


def update_run(catalog: Catalog, run_id: str, figures: Figures, state: RunState) -> None:
    """Record a run's state and figures, in the caller's transaction."""
    catalog.write("register/update_run", [asdict(figures) | asdict(state) | {"run_id": run_id}])
