"""The programs that are compared: how each is run, and what each run gives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from etl.demo.producer import create_topic
from tests.bench.measure import ROOT, Cost, Failed, python

FINK_PYTHON = ROOT / ".fink" / "bin" / "python"
FINK_SHARE = 25
FINK_BATCHES = 4
"""It waits for a batch that does not fill up, so all of its alerts come in whole ones."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A topic full of alerts of one kind."""

    kind: str
    bootstrap_servers: str
    topic: str
    messages: int
    size_bytes: int
    gzip_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program; `seconds` begin after its imports, `cost` with its process."""

    messages: int
    seconds: float
    stored_bytes: int
    cost: Cost


def consumer(stream: Stream, _folder: Path) -> Run:
    """Only read: no program that reads can be faster."""
    cost, said = python("-m", "tests.bench.consumer", *_source(stream))
    return Run(said["messages"], said["seconds"], 0, cost)


def drain(stream: Stream, folder: Path) -> Run:
    """Drain into a lake, as cron does; with a fresh one and a fresh group, up to the last row."""
    cost, said = python(
        *("-m", "etl", "drain", "--json", "--poll-timeout", "0"),
        *("--bootstrap-servers", stream.bootstrap_servers, "--topic", stream.topic),
        *("--group-id", f"bench-{folder.name}", "--lake", str(folder / "lake")),
    )
    figures = said["figures"]
    if figures["rejects"] or figures["lost"]:
        raise Failed(f"{stream.topic}: rejects or losses in a drain of good alerts: {said}")
    return Run(figures["alerts"], figures["seconds"], figures["bytes"], cost)


def naive(stream: Stream, folder: Path) -> Run:
    """Store the alerts the way one does on the first day."""
    cost, said = python("-m", "tests.bench.naive", *_source(stream), str(folder / "naive"))
    return Run(said["messages"], said["seconds"], said["stored"], cost)


def publish_for_fink(stream: Stream) -> Stream:
    """Publish some of the alerts again as fink-client takes them; give that share of the stream."""
    each = max(1, stream.messages // FINK_SHARE // FINK_BATCHES)
    share = replace(stream, messages=each * FINK_BATCHES)
    for suffix in ("_avro", "_avro_schema"):
        create_topic(stream.bootstrap_servers, stream.topic + suffix, 1)
    python("-m", "tests.bench.fink", "publish", *_source(share), interpreter=str(FINK_PYTHON))
    return share


def fink(share: Stream, folder: Path) -> Run:
    """Let fink-client's own loop carry its share of the alerts, in one process."""
    cost, said = python(
        *("-m", "tests.bench.fink", "transfer", *_source(share), str(folder / "fink")),
        str(share.messages // FINK_BATCHES),
        interpreter=str(FINK_PYTHON),
    )
    return Run(said["messages"], said["seconds"], said["stored"], cost)


def _source(stream: Stream) -> tuple[str, str, str]:
    return stream.bootstrap_servers, stream.topic, str(stream.messages)


PROGRAMS: dict[str, Callable[[Stream, Path], Run]] = {
    "consumer": consumer,
    "drain": drain,
    "naive": naive,
}
"""Each reads the same stream, into a folder of its own."""

FINK = "fink-client, Avro"
"""Where `make bench` could install it; it reads a share of the alerts, for its rate is the same."""

NOTHING_NEW = "drain, nothing new"
"""A second drain into the same lake."""
