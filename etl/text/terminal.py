"""What goes to a terminal: tables, and nothing that a terminal obeys."""

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from etl.text.tables import Row, aligned, number_columns, shown_json, shown_lines, shown_text
from etl.text.words import cut

TERMINAL_ROWS = 200
CELL_CHARS = 60


class Gate(io.TextIOWrapper):
    """A stream for people: of all that is not printable, only line breaks pass as they are."""

    def write(self, text: str, /) -> int:
        """Write the text as people may see it."""
        super().write(shown_lines(text))
        return len(text)


def write(lines: Iterable[str], shown: Callable[[str], str] = shown_json) -> None:
    """Print lines for a program: exactly, or as `shown` has them where stdout is a terminal."""
    if sys.stdout.isatty():
        lines = map(shown, lines)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def write_bytes(value: bytes) -> None:
    """Print bytes unchanged; on a terminal as text, with escapes for what is none."""
    if sys.stdout.isatty():
        sys.stdout.write(shown_lines(value.decode("utf-8", "backslashreplace")))
    else:
        sys.stdout.buffer.write(value)


def show(columns: Sequence[str], rows: Iterable[Row], *, null: str = "") -> None:
    """Print a table: in colour and cut to a readable size on a terminal, else whole and aligned.

    On a terminal, rows that are too wide for it are shown one field a line.
    """
    if sys.stdout.isatty():
        _show_on_terminal(columns, rows, null)
    else:
        sys.stdout.writelines(f"{line}\n" for line in aligned(columns, rows, null))


def _show_on_terminal(columns: Sequence[str], rows: Iterable[Row], null: str) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    sys.stdout.flush()
    rows = iter(rows)
    head = list(islice(rows, TERMINAL_ROWS))
    more = next(rows, None) is not None
    texts = [[cut(shown_text(value, null), CELL_CHARS) for value in row] for row in head]
    # Past the gate, for the colours: all that is printed here is shown text.
    past = open(sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    console = Console(file=past, highlight=False)
    columns = [shown_text(name) for name in columns]
    widths = [max(map(len, each)) + 2 for each in zip(columns, *texts, strict=True)]
    if sum(widths) > console.width and len(columns) > 1:
        longest = max(map(len, columns))
        for number, row in enumerate(texts, 1):
            console.print(Text(f"row {number}", style="bold"))
            for name, text in zip(columns, row, strict=True):
                console.print(Text(f"  {name.ljust(longest)}  {text}"), overflow="fold")
    else:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name, is_number in zip(columns, number_columns(columns, head), strict=True):
            table.add_column(Text(name), justify="right" if is_number else "left")
        for row in texts:
            table.add_row(*map(Text, row))
        console.print(table)
    if more:
        console.print(Text(f"first {TERMINAL_ROWS} rows; --csv, --json or a pipe gives all"))
