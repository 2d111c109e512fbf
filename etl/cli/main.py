"""The verbs of `lasair-etl`: each reads its options, calls the library, and prints the answer.

A verb imports what it needs when it runs, so that `--help` and a typo cost nothing.
"""

import os
import sys

import click

from etl import __version__
from etl.cli import console, demo, health, query, run, streams
from etl.errors import EXIT_MEANINGS

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
HELP = """Carry Lasair's alert streams from Kafka into a lake of Parquet files for DuckDB.

\b
A first time:  lasair-etl demo
For real:      lasair-etl init --user-id 2 --filter "SN-like candidates"
               lasair-etl drain

A setting comes from its flag, else from the environment (LASAIR_ETL_LAKE and so on), else from
the file lasair-etl.toml, else from its default.

\b
Exit codes:
"""


def main() -> None:
    """Be the command `lasair-etl`."""
    # Arrow's own allocators keep 50 to 80 MB more in a drain, and are not faster there.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    streams.prepare()
    sys.exit(console.run(root))


@click.group(
    context_settings=CONTEXT,
    help=HELP + "\n".join(f"  {code:2} {meaning}" for code, meaning in EXIT_MEANINGS.items()),
)
@click.version_option(__version__, prog_name=console.PROGRAM)
def root() -> None:
    """Collect the verbs."""


VERBS = [run.init, run.drain, run.compact, demo.simulate, demo.demo, health.status, health.peek]
VERBS += [health.rejects, health.verify, query.sql, query.query, query.files, query.report]
for verb in VERBS:
    root.add_command(verb)
