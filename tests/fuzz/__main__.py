"""`make fuzz`: messages that nobody thought of, found by which lines of the decoder they reach.

Each input is a few messages, which go through the decoder between good neighbours, once with
nothing known and once with the schema learnt from them. What becomes of each is compared with
`json.loads`: a reject, or exactly its values; the neighbours always come through; and no input
ends the process. It begins with the messages of `etl/decode/messages.md`.

Where atheris is not to be had, the unit tests' laws take its place, with a larger budget.
"""

import os
import subprocess
import sys
from pathlib import Path

import click

KEPT = Path(".fuzz")
"""Inputs that reached something new, for the next time, and those that something was wrong with."""
BETWEEN = b"\x1e"
MOST_MESSAGES = 6
LONGEST_BYTES = 4096
LAWS = ("tests/unit/decode", "tests/unit/schema")
LAWS_PER_SECOND = 1.5
"""So many times their usual examples fit into a second, roughly."""


@click.command(help=__doc__)
@click.option("--seconds", default=60, show_default=True, help="How long to look.")
@click.option("--seed", type=int, help="What begins the chain of inputs.  [default: by chance]")
@click.option("--again", type=click.Path(exists=True), help="Try one input that was found.")
def main(seconds: int, seed: int | None, again: str | None) -> None:  # noqa: D103
    try:
        import atheris  # noqa: PLC0415
    except ImportError:
        click.echo("No atheris here: looking without guidance by coverage.", err=True)
        budget = os.environ | {"FUZZ": str(max(1, int(seconds * LAWS_PER_SECOND)))}
        sys.exit(
            subprocess.run([sys.executable, "-m", "pytest", *LAWS], env=budget, check=False)
            .returncode
        )  # fmt: skip
    with atheris.instrument_imports(include=["etl"]):
        from etl.decode.batch import decode_batch  # noqa: PLC0415
    from etl.schema.types import EMPTY  # noqa: PLC0415
    from tests.unit import json_reference  # noqa: PLC0415
    from tests.unit.decode import test_messages  # noqa: PLC0415

    neighbours = test_messages.NEIGHBOURS

    def try_out(data: bytes) -> None:
        messages = data.split(BETWEEN)[:MOST_MESSAGES]
        values = [neighbours[0]]
        for number, message in enumerate(messages, 1):
            values += [message, neighbours[number % len(neighbours)]]
        schema = EMPTY
        for _ in range(2):
            decoded, schema = decode_batch(json_reference.batch_of(values), schema)
            for outcome, value in zip(
                json_reference.outcomes(decoded, len(values)), values, strict=True
            ):
                json_reference.assert_exact(outcome, value)

    corpus = KEPT / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(test_messages.table_rows()):
        if row.message is not None:
            beginning = BETWEEN.join([*row.context, row.message])[:LONGEST_BYTES]
            (corpus / f"table-{number:04}").write_bytes(beginning)
    flags = [f"-max_len={LONGEST_BYTES}", "-timeout=30", "-rss_limit_mb=2048", "-verbosity=0"]
    flags += [f"-artifact_prefix={KEPT}/", "-print_final_stats=1"]
    flags += [f"-seed={seed}"] if seed is not None else []
    flags += [again] if again else [f"-max_total_time={seconds}", str(corpus)]
    atheris.Setup([sys.argv[0], *flags], try_out)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
