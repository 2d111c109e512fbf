"""The verbs to try things out: simulate and demo."""

from pathlib import Path
from typing import Any

import click

from etl.cli import console, options
from etl.cli.options import value
from etl.text import words

ABOVE_0 = click.FloatRange(0, min_open=True)


@click.command()
@value(
    "--kind",
    None,
    "Attributes only (300 B), with a lite light curve (26 kB), or full alerts (320 kB).",
    click.Choice(["plain", "lite", "full"]),
    default="plain",
)
@value("--topic", "NAME", "The topic; it is created if it is missing.", required=True)
@value("--count", "N", "How many alerts to publish.", click.IntRange(1), default=1000)
@value("--rate rate_per_s", "N", "Alerts a second.  [default: all at once]", ABOVE_0)
@value("--seed", "N", "Each seed makes other objects.", int, default=1)
@value("--partitions", "N", "How many partitions a new topic gets.", click.IntRange(1), default=8)
@options.about_broker(
    "A broker of your own; the settings file is not read.", default="localhost:9092"
)
@options.verbose
def simulate(*, bootstrap_servers: str, topic: str, kind: str, count: int, **how: Any) -> None:
    """Publish simulated alerts to a broker of your own.

    Use it to try a notebook, or for a load test. Objects, light curves and errors are plausible.
    The first 10 alerts lack UTC, as Lasair's examples do. The same seed makes the same alerts on
    the same day.
    """
    from etl.config.settings import parse
    from etl.demo.tour import publish_simulated

    parse("command line", "bootstrap_servers", bootstrap_servers)
    sent = publish_simulated(bootstrap_servers, topic, kind, count, **how)
    console.tell(sent, [f"{words.count(sent, f'{kind} alert')} published to {topic}"])


@click.command()
@options.about_lake(
    "Where to leave the lake; the lake of an earlier demo is replaced.",
    kind=options.PATH,
    default="demo-lake",
)
@options.verbose
def demo(*, lake: Path) -> None:
    """Show everything in ten seconds, on this computer alone.

    It starts a broker, publishes simulated alerts, drains, publishes more, drains again, and
    queries the lake in SQL. It leaves the lake for you to try the other verbs.
    """
    from etl.config.settings import parse
    from etl.demo.tour import demonstrate

    place = parse("command line", "lake", lake)
    demonstrate(place, lambda text: console.tell(text, text.split("\n")))
