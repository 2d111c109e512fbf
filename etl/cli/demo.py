"""The verbs to try things out: simulate and demo."""

from pathlib import Path

import click

from etl.cli import options
from etl.text import words


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["plain", "lite", "full"]),
    default="plain",
    show_default=True,
    help="Attributes only (300 B), with a lite light curve (26 kB), or full alerts (320 kB).",
)
@click.option(
    "--topic", required=True, metavar="NAME", help="The topic; it is created if it is missing."
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many alerts to publish.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Alerts a second.  [default: all at once]",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Each seed makes other objects.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="How many partitions a new topic gets.",
)
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    default="localhost:9092",
    show_default=True,
    help="A broker of your own; the settings file is not read.",
)
@options.verbose
def simulate(
    *,
    kind: str,
    topic: str,
    count: int,
    rate: float | None,
    seed: int,
    partitions: int,
    bootstrap_servers: str,
) -> None:
    """Publish simulated alerts to a broker of your own.

    Use it to try a notebook, or for a load test. Objects, light curves and errors are plausible.
    The first 10 alerts lack UTC, as Lasair's examples do. The same seed makes the same alerts on
    the same day.
    """
    from etl.demo.tour import publish_simulated

    sent = publish_simulated(
        bootstrap_servers, topic, kind, count, seed=seed, rate_per_s=rate, partitions=partitions
    )
    click.echo(f"{words.count(sent, f'{kind} alert')} published to {topic}")


@click.command()
@click.option(
    "--lake",
    default="demo-lake",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to leave the lake; the lake of an earlier demo is replaced.",
)
@options.verbose
def demo(*, lake: Path) -> None:
    """Show everything in ten seconds, on this computer alone.

    It starts a broker, publishes simulated alerts, drains, publishes more, drains again, and
    queries the lake in SQL. It leaves the lake for you to try the other verbs.
    """
    from etl.demo.tour import demonstrate

    demonstrate(lake, click.echo)
