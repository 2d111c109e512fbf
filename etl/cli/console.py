"""How a command ends: with one plain sentence and an exit code, never with a surprise.

Logs go to stderr, one event a line, in UTC. The first signal is a request, the second an order.
"""

import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from etl.cli import streams
from etl.errors import BUG, LAKE_NOT_WRITABLE, WRONG_USAGE, EtlError, WrongUsage
from etl.text import terminal
from etl.text.tables import json_text, shown_lines, shown_text

PROGRAM = "lasair-etl"

# What a shell reports for a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
PIPE_CLOSED = 141
LOG_LINE = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
log = logging.getLogger(__name__)


class _OneLine(logging.Formatter):
    """Writes one event a line, even where a message or a traceback has several lines."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return shown_text(super().format(record))


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment: a progress bar replaces it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201


def start_logging(verbose: int) -> None:
    """Log what needs attention; `-v` adds what is done, `-vv` what librdkafka logs."""
    handler = _Stderr()
    handler.setFormatter(_OneLine(LOG_LINE, "%Y-%m-%dT%H:%M:%S"))
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # librdkafka's own complaints repeat what our closing sentence says.
    logging.getLogger("librdkafka").setLevel(logging.DEBUG if verbose > 1 else logging.CRITICAL)


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, whatever happens in it and to its output."""
    try:
        return _run(command, arguments)
    finally:
        with streams.courtesy():
            sys.stdout.flush()


def _run(command: click.Command, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return WRONG_USAGE
    except WrongUsage as error:
        # It may have a second line, where DuckDB points at the mistake.
        click.echo(shown_lines(f"{PROGRAM}: {error}"), err=True)
        return error.exit_code
    except EtlError as error:
        say(str(error))
        return error.exit_code
    except SystemExit:  # click's answer to a reader of our output that went away
        return PIPE_CLOSED
    except BrokenPipeError:
        streams.drop_output()
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is None:
            streams.drop_output()
        say(f"{error.filename or 'output'}: {error.strerror or error}")
        return LAKE_NOT_WRITABLE
    except Exception as error:  # noqa: BLE001
        return _report_bug(error)
    return code if isinstance(code, int) else 0


def say(sentence: str) -> None:
    """Print one sentence on one line of stderr."""
    click.echo(shown_text(f"{PROGRAM}: {' '.join(sentence.split())}"), err=True)


def _report_bug(error: Exception) -> int:
    if logging.getLogger().isEnabledFor(logging.INFO):
        traceback.print_exception(error)
    else:
        first = (str(error).splitlines() or [""])[0]
        say(
            f"a bug, please report it: {type(error).__name__}: {first} (the same command with -v "
            f"shows where)"
        )
    return BUG


def show(found: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a result as JSON, or as its lines for people, in which no character is a command."""
    if as_json:
        terminal.write([json_text(found)])
    for line in () if as_json else map(shown_text, lines):
        click.echo(line)


def tell(found: object, lines: Iterable[str], *, as_json: bool = False) -> None:
    """Show what was done; where that can't be printed, it was done all the same."""
    with streams.courtesy():
        show(found, lines, as_json=as_json)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; a second one ends the process.

    A terminal that closes sends SIGHUP twice, by its shell and by the system: another one of these
    is no order. What ignores it from the start, as under nohup, goes on ignoring it.
    """
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for each in before:
            signal.signal(each, signal.SIG_IGN if each == signal.SIGHUP else signal.SIG_DFL)
        name = signal.Signals(number).name
        log.warning("%s: storing what has arrived, then stopping; once more to stop at once", name)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Show progress on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _left: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} read"),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
    )
    console = Console(file=streams.unfailing())  # past the gate: no text of others is in it
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("asking the broker", total=None, left="")

        def show(done: int, left: int | None) -> None:
            total = None if left is None else done + left
            behind = "" if left is None else f"{left:,} left"
            bar.update(task, description="draining", completed=done, total=total, left=behind)

        yield show
