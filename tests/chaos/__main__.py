"""`make chaos`: faults at random beside a drain, and an account of every message after each.

A round sends messages, runs drains as processes, and does one thing to them or to the broker or
to the disk. After it, and plain drains that need no help, each message has to be in the lake
exactly once and in the incarnation of its topic that it was sent to, or kept as a reject, or a
tombstone, or in a recorded gap; and no reader may have seen an error, a count that went down, or
half of a batch. The same seed chooses the same faults; the moments depend on the machine.
"""

import random
import signal
import sys
import tempfile
from pathlib import Path

import click

from etl.demo.embedded_broker import tansu_binary
from tests.chaos import stage
from tests.chaos.campaign import Campaign, Tally
from tests.chaos.repertoire import FAULTS
from tests.kafka_server import missing


@click.command(help=__doc__)
@click.option("--seed", type=int, help="What chooses the faults.  [default: another each time]")
@click.option("--rounds", default=30, show_default=True, help="How many faults.")
@click.option("--first", default=0, show_default=True, help="Number of the first round.")
@click.option(
    "--broker",
    type=click.Choice(["kafka", "embedded"]),
    help="Embedded: only what can be done to it.  [default: kafka where it is]",
)
@click.option("--only", multiple=True, type=click.Choice(list(FAULTS)), help="Only this fault.")
@click.option("-v", "--verbose", is_flag=True, help="One line per round.")
def main(  # noqa: D103
    seed: int | None,
    rounds: int,
    first: int,
    broker: str | None,
    only: tuple[str, ...],
    verbose: bool,
) -> None:
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    reason = missing()
    if broker == "kafka" and reason:
        sys.exit(reason)
    if (broker or reason) and broker != "kafka" and tansu_binary() is None:
        sys.exit(f"no embedded broker on this platform, and no Kafka: {reason}")
    if broker is None and reason:
        click.echo(f"NOT on Apache Kafka, on the embedded broker: {reason}", err=True)
    kind = broker or ("embedded" if reason else "kafka")
    # Ends the blocks below, and with them all that they have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))

    def say(line: str, always: bool) -> None:
        if verbose or always:
            click.echo(line)

    with (
        tempfile.TemporaryDirectory(prefix="lasair-etl-chaos-") as temporary,
        stage.disk(Path(temporary) / "disk") as disk,
        stage.broker(kind, Path(temporary) / "broker") as (running, server),
    ):
        if disk is None:
            click.echo("No small disk can be mounted here: none gets full.", err=True)
        campaign = Campaign(seed, running, server, disk, Path(temporary), say, only)
        try:
            campaign.play(first, first + rounds)
        finally:
            click.echo(report(campaign.tally, kind))
    sys.exit(campaign.tally.wrong > 0)


def report(tally: Tally, broker: str) -> str:
    """Write the figures that the campaign ends with."""
    faults = ", ".join(f"{name} {n}" for name, n in sorted(tally.faults.items()))
    codes = ", ".join(f"{code}: {n}" for code, n in sorted(tally.codes.items()))
    return (
        f"{tally.rounds} rounds on {broker}, seed {tally.seed}\n"
        f"faults: {faults}\n"
        f"exit codes of the drains that met them: {codes}\n"
        f"messages {tally.messages}, of which {tally.gone} went unread with a deleted topic; "
        f"{tally.looks} looks by readers\n"
        f"lost {tally.lost}, doubled {tally.doubled}, misfiled {tally.misfiled}, reader errors "
        f"{tally.reader_errors}, other faults {tally.other}"
    )


if __name__ == "__main__":
    main()
