"""Files below `data` and `rejects` that the catalog does not list: whose they are.

Most are somebody's and harm nobody. One that this lake wrote, and whose offsets no listed file has,
was known to a newer catalog than the one that is here.
"""

import json
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.lake.layout import FOLDERS, Lake
from etl.lake.parquet import FOOTER_KEY
from etl.read.published import Published
from etl.records import Span, join_spans

# The first migration that gives a lake an id.
IDENTITY = 3


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A file that the catalog does not list; `lost` where its alerts are in no listed one."""

    path: str
    reason: str
    lost: bool = False


def unlisted_files(lake: Lake, registered: AbstractSet[str]) -> list[Unlisted]:
    """List the files that are not registered; they are never deleted, for they may be someone's.

    A run may have begun since `registered` was read. So the published file is looked at again,
    after the files: it knows of every run that had written one.
    """
    paths = [path for path in _files(lake.root) if path not in registered]
    if not paths:
        return []
    with Published(lake) as published:
        registered = {row[0] for row in published.rows("queries/files")}
        judge = _Judge(lake, published)
        return [
            judge.judge(path)
            for path in paths
            if path not in registered and (lake.root / path).exists()
        ]


def _files(root: Path) -> Iterator[str]:
    for folder in FOLDERS.values():
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():
                yield path.relative_to(root).as_posix()


class _Judge:
    """What the published file knows of runs and offsets."""

    def __init__(self, lake: Lake, published: Published) -> None:
        self.lake = lake
        migration = published.rows("queries/lake")[0][0]
        self.lake_id = published.rows("queries/identity")[0][0] if migration >= IDENTITY else None
        self.open_runs = {run_id for (run_id,) in published.rows("queries/open_runs")}
        self.spans = join_spans({Span(*row) for row in published.rows("queries/spans")})

    def judge(self, path: str) -> Unlisted:
        """Say whose file it is."""
        origin = self._origin(path)
        run_id = origin.get("run_id")
        if not run_id or not re.fullmatch(rf"{re.escape(run_id)}-\d+\.parquet", Path(path).name):
            return Unlisted(path, "not registered, left alone")
        if origin.get("lake_id") not in (None, self.lake_id):
            return Unlisted(path, "not registered, of another lake, left alone")
        if run_id in self.open_runs:
            return Unlisted(path, f"not registered yet: run {run_id} is at work, or was killed")
        missing = [span for span in map(_span, origin["spans"]) if not self._is_listed(span)]
        if not missing:
            return Unlisted(path, "not registered; its alerts are in other files, so it may go")
        return Unlisted(path, f"{_named(missing[0])} are in no file that the catalog lists", True)

    def _origin(self, path: str) -> dict[str, Any]:
        try:
            footer = pq.read_metadata(self.lake.root / path).metadata or {}
            origin: dict[str, Any] = json.loads(footer[FOOTER_KEY])
            [_span(span) for span in origin["spans"]]
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return {}  # no file of any lake's
        return origin

    def _is_listed(self, span: Span) -> bool:
        return join_spans({*self.spans, span}) == self.spans


def _span(said: dict[str, Any]) -> Span:
    return Span(**said)


def _named(span: Span) -> str:
    return f"{span.topic}[{span.partition}] offsets {span.start} to {span.end}"
