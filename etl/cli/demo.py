"""The verbs for a trial: simulate and demo."""

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
    help="Attributes only (300 B), with a lite light curve (26 kB), or the full alert (320 kB).",
)
@click.option("--topic", required=True, metavar="NAME", help="The topic; created if it is missing.")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many alerts.",
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
    help="Another seed gives other objects.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="Partitions of a topic that has to be created.",
)
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    default="localhost:9092",
    show_default=True,
    help="A broker of your own; the settings file is not used.",
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

    For a notebook or a load test. Objects, light curves and errors are plausible, and the first 10
    alerts have no UTC, like Lasair's examples. The same seed gives the same alerts on the same day.
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
    help="Where to leave the lake; an earlier demonstration's is made anew.",
)
@options.verbose
def demo(*, lake: Path) -> None:
    """Show the whole project in ten seconds, on this computer alone.

    It starts a broker, publishes simulated alerts, drains, publishes more, drains again, queries
    the lake in SQL, and leaves the lake for you to try the other verbs.
    """
    from etl.demo.tour import demonstrate

    demonstrate(lake, click.echo)
