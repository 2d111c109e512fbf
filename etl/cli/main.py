"""The verbs of `lasair-etl`: each reads its options, calls the library, prints what it answers.

What a verb needs is imported inside it, so that `--help` and a typo cost nothing.
"""

import os
import sys

import click

from etl import __version__
from etl.cli import console, demo, health, query, run

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main() -> None:
    """Be the command `lasair-etl`."""
    # Arrow's own allocators keep 50 to 80 MB more in a drain, and are no quicker there.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    sys.exit(console.run(root))


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name=console.PROGRAM)
def root() -> None:
    """Carry Lasair's alert streams from Kafka into a lake of Parquet files that DuckDB can query.

    \b
    A first time:  lasair-etl demo
    For real:      lasair-etl init --user-id 2 --filter "SN-like candidates"
                   lasair-etl drain

    Settings come from a flag, else from the environment (LASAIR_ETL_LAKE and so on), else from the
    file lasair-etl.toml, else from a default.

    \b
    Exit codes:   0 done           77 access denied
                 75 try later      78 wrong settings
                 65 data at risk   74 the lake can't be written
                 64 wrong usage    70 a bug
    """


for verb in (
    run.init,
    run.drain,
    run.compact,
    demo.simulate,
    demo.demo,
    health.status,
    query.sql,
    query.query,
    query.report,
    health.peek,
    health.rejects,
    health.verify,
):
    root.add_command(verb)
