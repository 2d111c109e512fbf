"""What the verbs answer, as text for people."""

import json
import string
import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.config.settings import CONFIG_NAME
from etl.text.words import count, moment, size

if TYPE_CHECKING:
    from etl.audit.status import Preview, Status, TopicStatus
    from etl.audit.verify import Report
    from etl.config.first_settings import Start
    from etl.jobs.compact import Compacted
    from etl.jobs.drain import Outcome
    from etl.read.rejects import StoredReject
    from etl.read.worked_queries import Analysis

Table = tuple[list[str], list[list[Any]]]
DUMP_BYTES = 1024
DUMP_WIDTH = 16
LINE_WIDTH = 90
PRINTABLE = frozenset(string.printable[:-5])
REASONS = {
    "catalog": "the lake ends there",
    "group": "the group's committed offset",
    "recreated": "the topic was recreated",
    "added": "the partition was added to the topic",
    "earliest": "first drain: from the beginning",
}


def start_lines(start: "Start", path: Path, *, made_up: bool) -> Iterator[str]:
    """What the new settings file holds, and what to do next."""
    yield f"wrote {path}"
    yield f"  broker    {start.bootstrap_servers}"
    for topic in start.topics:
        yield f"  topic     {topic}"
    origin = "made up for you; " if made_up else ""
    yield f"  group id  {start.group_id}  ({origin}it must not change)"
    yield f"  lake      {path.absolute().parent / start.lake}"
    if not start.topics:
        yield 'next: add your topics to it (or: init --user-id N --filter "NAME")'
    elif path.name == CONFIG_NAME and path.parent == Path():
        yield "next: lasair-etl drain --dry-run, then lasair-etl drain"
    else:
        yield f"next: lasair-etl drain --config {path} --dry-run, then without --dry-run"


def closing_line(outcome: "Outcome") -> str:
    """One line that sums up a run."""
    figures = outcome.figures
    parts = [
        count(figures.alerts, "alert"),
        count(figures.rejects, "reject"),
        f"{figures.lost:,} lost",
        count(figures.files, "file"),
        size(figures.bytes),
        f"{figures.seconds:.1f} s",
        _lag(figures.lag),
        compacted_line(outcome.compacted) if outcome.compacted else "",
    ]
    return _joined(parts)


def compacted_line(done: "Compacted") -> str:
    """One line that sums up a compaction, empty if there was nothing to do."""
    parts = []
    if done.files_before:
        parts.append(
            f"compacted {count(done.files_before, 'file')} ({size(done.bytes_before)}) into "
            f"{done.files_after:,} ({size(done.bytes_after)})"
        )
    if done.deleted:
        parts.append(f"deleted {count(done.deleted, 'retired file')}")
    if done.left:
        parts.append(f"{done.left:,} more to write")
    return ", ".join(parts)


def preview_table(preview: "Preview") -> Table:
    """Where each partition would start, and why there."""
    columns = ["topic", "partition", "incarnation", "starts at", "because", "lost", "end", "behind"]
    return columns, [
        [p.topic, p.partition, p.incarnation, p.start, REASONS[p.reason], p.lost, p.end, p.behind]
        for p in preview.partitions
    ]


def preview_line(preview: "Preview") -> str:
    """One line that sums up a preview."""
    behind = [each.behind for each in preview.partitions]
    total = sum(each for each in behind if each is not None)
    topics = len({each.topic for each in preview.partitions})
    more = " or more" if None in behind else ""
    return (
        f"{count(total, 'message')}{more} behind, in {count(len(behind), 'partition')} of "
        f"{count(topics, 'topic')}; nothing was read, nothing was changed"
    )


def status_lines(status: "Status") -> Iterator[str]:
    """Which lake and broker this is about, and how the last run went."""
    yield f"lake      {status.lake}"
    if status.broker is None:
        yield "broker    not set, so no ends and no lag: use --bootstrap-servers or a settings file"
    elif status.broker_error is not None:
        yield f"broker    no ends and no lag: {status.broker_error}"
    else:
        yield f"broker    {status.broker}"
    run = status.last_run
    if run is None:
        yield "last run  none yet"
        return
    ended = {"open": "running, or killed", "failed": "failed"}.get(run["state"], run["state"])
    code = "" if run["exit_code"] is None else f", exit code {run['exit_code']}"
    yield (
        f"last run  {moment(run['started_at'])} UTC, {ended}{code}, "
        f"{count(run['alerts'], 'alert')}, {count(run['rejects'], 'reject')}, "
        f"{run['lost']:,} lost, {run['seconds']:.1f} s"
    )
    if run["message"]:
        yield f"          {run['message']}"
    for topic in status.topics:
        if topic.note:
            yield f"note      {topic.topic}: {topic.note}"


def topic_line(topic: "TopicStatus") -> str:
    """One line that sums up all incarnations of a topic."""
    parts = [
        f"incarnation {topic.incarnation}" if topic.incarnation else "",
        count(topic.alerts, "alert"),
        count(topic.rejects, "reject"),
        f"{topic.lost:,} lost",
        count(topic.files, "file"),
        size(topic.bytes),
        f"last night {topic.last_night}" if topic.last_night else "",
        _lag(topic.lag),
        f"last run {moment(topic.last_seen)} UTC" if topic.last_seen else "",
    ]
    return f"{topic.topic}: {_joined(parts)}"


def _lag(lag: int | None) -> str:
    return "lag unknown" if lag is None else f"lag {lag:,}"


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def partition_table(topic: "TopicStatus") -> Table:
    """One row per partition of the incarnation that was read last."""
    columns = ["partition", "next", "end", "lag", "alerts", "rejects", "lost", "last run (UTC)"]
    return columns, [
        [p.partition, p.next, p.end, p.lag, p.alerts, p.rejects, p.lost, _run_time(p.last_run)]
        for p in topic.partitions
    ]


def _run_time(run_id: str | None) -> str:
    """The time in a run's id.

    >>> _run_time("20261122T161653Z-59d38e47")
    '2026-11-22 16:16:53'
    """
    return moment(datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S")) if run_id else ""  # noqa: DTZ007


def report_lines(report: "Report") -> Iterator[str]:
    """One line for each thing that is wrong, then one line on how much was checked."""
    for each in report.complaints:
        yield f"WRONG  {each.check}: {each.where}  (promised: {each.promise})"
    for remark in report.remarks:
        yield f"note   {remark}"
    checked = (
        f"{count(report.checks, 'check')} over {count(report.files, 'file')} and "
        f"{count(report.rows, 'row')}, {report.seconds:.1f} s"
    )
    broken = len({each.check for each in report.complaints})
    yield f"{count(broken, 'broken promise')} in {checked}" if broken else f"all is well: {checked}"


def analysis_lines(analysis: "Analysis") -> Iterator[str]:
    """What a worked query answers, and its parameters."""
    yield analysis.name
    yield from textwrap.wrap(
        analysis.answers, LINE_WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    if analysis.variables:
        yield f"    -p {', '.join(analysis.variables)}"


def reject_lines(found: "StoredReject") -> Iterator[str]:
    """One message that could not be decoded, with its bytes."""
    for name in ("topic", "partition", "offset", "incarnation"):
        yield f"{name:11} {getattr(found, name)}"
    yield f"sent        {moment(found.timestamp) or 'unknown'} UTC"
    yield f"night       {found.night}"
    yield f"run         {found.run_id}"
    yield f"reason      {found.reason}"
    yield f"value       {count(len(found.value), 'byte')}"
    yield from dump_lines(found.value[:DUMP_BYTES])
    if len(found.value) > DUMP_BYTES:
        yield f"... and {len(found.value) - DUMP_BYTES:,} more; --raw prints all of them"


def dump_lines(value: bytes) -> Iterator[str]:
    r"""Bytes in hexadecimal, and beside them those that are printable characters.

    >>> list(dump_lines(b'{"a": \xff'))
    ['00000000  7b 22 61 22 3a 20 ff                              {"a": .']
    """
    for start in range(0, len(value), DUMP_WIDTH):
        part = value[start : start + DUMP_WIDTH]
        text = "".join(chr(byte) if chr(byte) in PRINTABLE else "." for byte in part)
        yield f"{start:08x}  {part.hex(' ').ljust(DUMP_WIDTH * 3)}  {text}"


def json_line(value: bytes | None) -> str | None:
    r"""A JSON message as one line, exactly as sent, NaN tokens included; None if it is not JSON.

    >>> json_line(b'{"mag":\n NaN}'), json_line(b'{"mag":')
    ('{"mag":  NaN}', None)
    """
    try:
        text = (value or b"").decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text.replace("\r", " ").replace("\n", " ").strip()  # in JSON strings they are escaped
