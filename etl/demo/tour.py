"""The demonstration: the whole project on one computer, with simulated alerts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from etl.config import first_settings
from etl.config.first_settings import LSST_BROKER, ZTF_BROKER
from etl.config.settings import CONFIG_NAME, ENVIRONMENT
from etl.config.topics import check_topic
from etl.demo.alerts import alerts
from etl.demo.embedded_broker import EmbeddedBroker
from etl.demo.producer import create_topic, publish
from etl.errors import EtlError, LakeNotWritable, WrongSettings, WrongUsage
from etl.lake.layout import lake_at
from etl.read.published import Published
from etl.statements import sql_text
from etl.text import terminal, words

PARTITIONS = 8
KINDS = {"plain": 5000, "lite": 300, "full": 40}

# One alert in this number comes after the first drain.
LATER = 10

# The file by which a later demonstration knows a lake that it may replace.
MARK = ".demonstration"
QUERIES = ("nights", "newest", "light_curve")
SENT = re.compile(rb'"UTC": "([0-9: -]{19})"')
Say = Callable[[str], object]


def publish_simulated(
    bootstrap_servers: str,
    topic: str,
    kind: str,
    count: int,
    *,
    seed: int,
    rate_per_s: float | None,
    partitions: int,
) -> int:
    """Publish simulated alerts, and return their number; Lasair's own broker is `WrongUsage`."""
    check_topic(topic)
    public = {broker.partition(":")[0] for broker in (LSST_BROKER, ZTF_BROKER)}
    if any(each.strip().partition(":")[0] in public for each in bootstrap_servers.split(",")):
        raise WrongUsage(f"{bootstrap_servers}: Lasair's own broker takes no simulated alerts")
    create_topic(bootstrap_servers, topic, partitions)
    values = alerts(kind, count, seed, now=datetime.now(UTC))
    return publish(bootstrap_servers, topic, values, rate_per_s=rate_per_s)


def demonstrate(root: Path, say: Say) -> None:
    """Show all steps from a broker to a DuckDB query; the lake stays in `root`."""
    lake_at(root)  # refuses a path that can be no lake's
    clear(root)
    now = datetime.now(UTC)
    streams = {
        f"lasair_demo_{kind}": list(alerts(kind, count, now=now)) for kind, count in KINDS.items()
    }
    with EmbeddedBroker() as bootstrap_servers:
        say(f"A Kafka broker of our own, in memory: Tansu at {bootstrap_servers}\n")
        config = prepare(root, bootstrap_servers, list(streams))
        for topic in streams:
            create_topic(bootstrap_servers, topic, PARTITIONS)
        _publish(bootstrap_servers, streams, say, later=False)
        _drain(config, say)
        _publish(bootstrap_servers, streams, say, later=True)
        _drain(config, say)
    for query in QUERIES:
        _ask(root, query, say)
    say(farewell(root))


def clear(root: Path) -> None:
    """Remove an earlier demonstration; a folder that none has made is `WrongSettings`."""
    if not root.exists() and not root.is_symlink():
        return
    if root.is_symlink() or not (root / MARK).is_file():
        raise WrongSettings(
            f"{root}: exists already, and no demonstration made it; name another: --lake FOLDER"
        )
    shutil.rmtree(root)


def prepare(root: Path, bootstrap_servers: str, topics: list[str]) -> Path:
    """Make the lake's folder with its mark and a settings file."""
    try:
        root.mkdir(parents=True)
        (root / MARK).touch()
    except OSError as error:
        raise LakeNotWritable(f"{root}: {error.strerror or error}") from error
    config = root / CONFIG_NAME
    start = first_settings.Start(
        topics,
        first_settings.made_up_group(),
        bootstrap_servers,
        lake=".",
        poll_timeout_s=0,
        connect_timeout_s=5,
    )
    first_settings.write_settings(config, start)
    return config


def sent_ms(values: Sequence[bytes], now: datetime) -> list[int]:
    """Return when Lasair would have sent each alert: its UTC, else that of the next with one."""
    times: list[int] = []
    sent = now
    for value in reversed(values):
        if found := SENT.search(value):
            sent = datetime.strptime(found[1].decode(), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        times.append(int(sent.timestamp() * 1000))
    return times[::-1]


def _publish(
    bootstrap_servers: str, streams: dict[str, list[bytes]], say: Say, *, later: bool
) -> None:
    say(f"{'Later, more' if later else 'Simulated'} alerts are published:")
    now = datetime.now(UTC)
    for topic, values in streams.items():
        cut = len(values) - len(values) // LATER
        part = slice(cut, None) if later else slice(cut)
        times = sent_ms(values, now)[part]
        sent = publish(bootstrap_servers, topic, values[part], timestamps_ms=times)
        size = words.size(sum(map(len, values[part])))
        say(f"  {topic:18} {sent:5,} alerts, {size}")


def _drain(config: Path, say: Say) -> None:
    """Run the real command in a process of its own, as cron does."""
    say(f"\n$ {program()} drain --config {config}")
    own = {key: value for key, value in os.environ.items() if not key.startswith(ENVIRONMENT)}
    command = [sys.executable, "-m", "etl", "drain", "--config", str(config)]
    finished = subprocess.run(command, env=own, stdout=subprocess.PIPE, text=True, check=False)
    say(finished.stdout)
    if finished.returncode:
        raise EtlError(f"the drain ended with exit code {finished.returncode}")


def _ask(root: Path, query: str, say: Say) -> None:
    text = sql_text(f"demo/{query}").strip()
    say(text)
    with Published(lake_at(root)) as published:
        answer = published.ask(text)
        terminal.show(answer.schema.names, answer.rows())
    say("")


def program() -> str:
    """Return the command as the user would type it here."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m etl"
    on_path = shutil.which(called.name)
    if on_path and Path(on_path).samefile(called):
        return called.name
    try:
        return str(called.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(called)


def farewell(root: Path) -> str:
    """Return what the user can try next on the lake."""
    command, lake = program(), str(root)
    return f"""\
The lake is in {lake}, and the broker is gone. Try:
  {command} status --lake {lake}
  {command} verify --lake {lake}
  {command} sql --lake {lake} "FROM lasair_demo_lite LIMIT 1"
  {command} report --lake {lake} -o report.html
  duckdb -readonly {lake}/alerts.duckdb
For real: {command} init --help"""
