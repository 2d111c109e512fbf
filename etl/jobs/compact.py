"""Merge the small files of nights that are over into few large ones. In order:

1. find the nights, and months, that have several small files;
2. record a run as open, and write the new files, which nobody sees yet;
3. register: one transaction makes the new files live and retires the old ones; then publish;
4. delete what was retired long ago, when no reader's snapshot uses it any more.

After a kill before 3 the next run deletes the new files, as it does for a drain. Spans stay.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from pathlib import Path

import pyarrow as pa

from etl.catalog import known, runs
from etl.catalog.checkpoint import Replacement, replace_files
from etl.catalog.database import Catalog
from etl.config.settings import Settings
from etl.errors import DATA_AT_RISK, OK, DataAtRisk, EtlError, LakeNotWritable
from etl.jobs.findings import Findings, damaged_files
from etl.jobs.recover import open_recovered, record_failure
from etl.lake.layout import check_catalog, check_path, lake_at, view_root
from etl.lake.local import locked
from etl.records import Figures, LandedFile, RunState, StoredFile, new_run_id, night_of, utc_now
from etl.schema.types import EMPTY, TopicSchema

# A night rests this long after its end: alerts that still come would mean to merge it twice.
MARGIN = timedelta(hours=6)

# A night or month is merged from this number of small files on. A larger file stays as it is.
FEWEST = 4
LARGE_BYTES = 64_000_000

# The size of a merged file, which takes some seconds to write.
MOST_BYTES = 128_000_000

# How often a long compaction registers, and when one after a drain begins no other file.
REGISTER_S = 10.0
AUTOMATIC_S = 60.0


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did; `left` counts the files that it had no time to write."""

    files_before: int = 0
    files_after: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    deleted: int = 0
    left: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What cron should know."""
        return DATA_AT_RISK if self.notes else OK


def compact(settings: Settings, asked_to_stop: Callable[[], bool] = lambda: False) -> Compacted:
    """Merge all files where that pays, for as long as it takes.

    Raises
    ------
    EtlError
        Another run is at work, or the lake can't be written; readers see what they saw before.
    """
    lake = lake_at(settings.lake)
    check_path(settings.public_root or lake.root)
    with locked(lake):
        check_catalog(lake)
        root = view_root(settings.public_root, lake)
        with closing(open_recovered(lake, root, utc_now())) as catalog:
            return compact_open(catalog, settings, root, float("inf"), asked_to_stop)


def compact_open(
    catalog: Catalog,
    settings: Settings,
    root: Path,
    seconds: float,
    asked_to_stop: Callable[[], bool],
) -> Compacted:
    """Compact the lake of an open catalog, and begin no other file after `seconds`.

    With 0 seconds nothing is merged, but files retired long ago are still deleted.
    """
    started = time.monotonic()
    done = Compacted()
    now = utc_now()
    jobs = due(catalog, open_night(now, settings.night_starts)) if seconds else []
    if jobs:
        run = Compaction(catalog, root, new_run_id(now))
        done = run.execute(jobs, lambda: asked_to_stop() or time.monotonic() - started > seconds)
    deleted = delete_retired(catalog, utc_now(), settings.keep_retired)
    return replace(done, deleted=deleted, seconds=round(time.monotonic() - started, 3))


def open_night(now: datetime, night_starts: timedelta) -> datetime:
    """Return midnight of the first night that may still get alerts.

    >>> open_night(datetime(2026, 2, 15, 17, 59), timedelta(hours=12))
    datetime.datetime(2026, 2, 14, 0, 0)
    """
    night = night_of(now - MARGIN, night_starts)
    return datetime(night.year, night.month, night.day)  # noqa: DTZ001 - a date, for SQL


def due(catalog: Catalog, before: datetime) -> list[list[StoredFile]]:
    """List the files to merge: each inner list becomes one file."""
    found = catalog.rows(
        "queries/compactable", open_night=before, large_bytes=LARGE_BYTES, fewest=FEWEST
    )
    return [
        job
        for (topic, kind, _), rows in groupby(found, key=lambda row: row[:3])
        for job in _jobs([StoredFile(path, topic, kind, *rest) for _, _, _, path, *rest in rows])
    ]


def _jobs(files: Sequence[StoredFile]) -> Iterator[list[StoredFile]]:
    """Divide the files of one night or month, in order, into lists that become one file."""
    job: list[StoredFile] = []
    size_bytes = 0
    for file in files:
        size_bytes += file.size_bytes
        if job and size_bytes > MOST_BYTES:
            if len(job) > 1:
                yield job
            job, size_bytes = [], file.size_bytes
        job.append(file)
    if len(job) > 1:
        yield job


@dataclass(slots=True)
class Compaction:
    """The state of one compaction that has something to do."""

    catalog: Catalog
    root: Path
    run_id: str
    started: float = field(default_factory=time.monotonic)
    registered: float = field(default_factory=time.monotonic)
    figures: Figures = field(default_factory=Figures)
    done: Compacted = field(default_factory=Compacted)
    findings: Findings = field(default_factory=Findings)
    files: list[LandedFile] = field(default_factory=list)
    retired: list[StoredFile] = field(default_factory=list)

    def execute(self, jobs: Sequence[Sequence[StoredFile]], stop: Callable[[], bool]) -> Compacted:
        """Write and register the new files; what can't be read stays as it is."""
        pid, host = os.getpid(), socket.gethostname()
        runs.open_run(self.catalog, self.run_id, utc_now(), None, host, pid)
        self.catalog.publish()  # before its first file, so that `verify` knows this run
        schemas = known.known_schemas(self.catalog)
        written = 0
        try:
            for written, job in enumerate(takewhile(lambda _: not stop(), jobs), 1):
                self.merge(job, written, schemas.get(job[0].topic, EMPTY))
                if time.monotonic() - self.registered > REGISTER_S:
                    self.register(RunState("open"))
            code, message = self.findings.exit_code, self.findings.message
            self.register(RunState("done", utc_now(), code, message))
        except EtlError as error:
            record_failure(self.catalog, self.run_id, self.figures, error)
            raise
        return replace(self.done, left=len(jobs) - written, notes=self.findings.sentences)

    def merge(self, job: Sequence[StoredFile], number: int, schema: TopicSchema) -> None:
        """Write the file that replaces those of one job."""
        from etl.lake.layout import merged_path  # noqa: PLC0415 - slow
        from etl.lake.merge import Target, columns_of, merge_files  # noqa: PLC0415 - slow

        target = Target(
            path=merged_path(job, self.run_id, number),
            run_id=self.run_id,
            checkpoint=self.figures.checkpoints + 1,
            schema_version=schema.version,
            schema=columns_of(job[0].kind, schema),
            lake_id=self.catalog.lake_id(),
        )
        try:
            self.files.append(merge_files(job, target, self.catalog.lake.root))
        except (DataAtRisk, pa.ArrowException) as error:
            self.findings.add(damaged_files(error))
        else:
            self.retired += job

    def register(self, state: RunState) -> None:
        """Let the new files stand for the old ones, and publish."""
        files, self.files = self.files, []
        retired, self.retired = self.retired, []
        self.done = replace(
            self.done,
            files_before=self.done.files_before + len(retired),
            files_after=self.done.files_after + len(files),
            rows=self.done.rows + sum(file.rows for file in files),
            bytes_before=self.done.bytes_before + sum(file.size_bytes for file in retired),
            bytes_after=self.done.bytes_after + sum(file.size_bytes for file in files),
        )
        self.figures = replace(
            self.figures,
            checkpoints=self.figures.checkpoints + 1,
            files=self.done.files_after,
            bytes=self.done.bytes_after,
            seconds=round(time.monotonic() - self.started, 3),
        )
        step = Replacement(
            self.run_id, self.figures.checkpoints, utc_now(), files, [f.path for f in retired]
        )
        replace_files(self.catalog, step, self.figures, state, self.root)
        self.catalog.publish()
        self.registered = time.monotonic()


def delete_retired(catalog: Catalog, now: datetime, keep: timedelta) -> int:
    """Delete the files that were retired `keep` ago, and forget them.

    A kill between the two leaves names of missing files in the catalog, which do no harm: no view
    has them, and the next run forgets them.
    """
    paths = [path for (path,) in catalog.rows("queries/retired_files", now=now, keep=keep)]
    if not paths:
        return 0
    root = catalog.lake.root
    try:
        for path in paths:
            (root / path).unlink(missing_ok=True)
    except OSError as error:
        raise LakeNotWritable(
            f"{error.filename}: {error.strerror or error}; newer files have replaced it, and the "
            f"next run tries again to delete it"
        ) from error
    for folder in {(root / path).parent for path in paths}:
        with suppress(OSError):  # others are in it
            folder.rmdir()
    with catalog.transaction():
        catalog.write("register/forget_files", [{"paths": paths}])
    catalog.publish()
    return len(paths)
