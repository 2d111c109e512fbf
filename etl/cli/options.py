"""The options that several verbs share, and the settings that come from them."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etl.cli import console
from etl.config.settings import REQUIRED, SAMPLE_GROUPS, Settings, load

if TYPE_CHECKING:
    from etl.read.published import Published

log = logging.getLogger(__name__)
Option = Callable[[Any], Any]
LAKE_ONLY = ("lake",)
BROKER_ONLY = ("bootstrap_servers",)
PATH = click.Path(path_type=Path)


def several(*options: Option) -> Option:
    """Join options into one decorator; `--help` shows them in this order."""

    def add(verb: Any) -> Any:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return add


def _start(_context: click.Context, _option: click.Parameter, verbose: int) -> None:
    console.start_logging(verbose)


def value(names: str, metavar: str | None, sentence: str, kind: Any = None, **more: Any) -> Option:
    """Return an option with a value; `names` is its flag, and its parameter if that differs."""
    more |= {"metavar": metavar, "help": sentence, "type": kind}
    return click.option(*names.split(), show_default=True, **more)


def flag(names: str, sentence: str) -> Option:
    """Return an option without a value."""
    return click.option(*names.split(), is_flag=True, help=sentence)


verbose = click.option(
    "-v",
    "--verbose",
    count=True,
    is_eager=True,
    expose_value=False,
    callback=_start,
    help="Log to stderr; -vv adds the log of the Kafka library.",
)

# Options that mean a little more, or have another default, in some verbs: a sentence makes one.
about_config = partial(value, "--config", "FILE", kind=PATH)
about_lake = partial(value, "--lake", "FOLDER")
about_broker = partial(value, "--bootstrap-servers", "HOST:PORT")
about_timeout = partial(value, "--connect-timeout", "SECONDS", kind=float)
about_number = partial(value, "-n number", "N", kind=click.IntRange(1))

config = about_config("The settings file.  [default: lasair-etl.toml, if it exists]")
lake = about_lake("The folder that holds everything.")
broker = about_broker("The broker, or several, with commas.")
connect_timeout = about_timeout("How long to wait for an answer from the broker.  [default: 30]")
as_json = flag("--json as_json", "Print JSON instead of text.")


def settings(
    required: tuple[str, ...] = REQUIRED, *, config: Path | None, **flags: Any
) -> Settings:
    """Read the settings from flags, environment and file; warn of a sample group id."""
    chosen = load(flags, os.environ, config, required)
    warn_of_sample(chosen.group_id)
    return chosen


def warn_of_sample(group_id: str) -> None:
    """Log a warning where Lasair's documents print this group id: many people use it."""
    if group_id in SAMPLE_GROUPS:
        log.warning(
            "group_id = %s is a sample from Lasair's documents, and others use it too; choose your "
            "own (lasair-etl init makes one up)",
            group_id,
        )


def published_of(chosen: Settings, *, sandboxed: bool = True) -> "Published":
    """Open the published file of the lake that the settings name; a sandbox but for typed SQL."""
    from etl.lake.layout import lake_at
    from etl.read.published import Published

    return Published(lake_at(chosen.lake), sandboxed=sandboxed)
