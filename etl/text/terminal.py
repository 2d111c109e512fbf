"""Tables on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from itertools import islice

from etl.text.tables import Row, aligned, number_columns, shown_text
from etl.text.words import cut

TERMINAL_ROWS = 200
CELL_CHARS = 60


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

    rows = iter(rows)
    head = list(islice(rows, TERMINAL_ROWS))
    more = next(rows, None) is not None
    texts = [[cut(shown_text(value, null), CELL_CHARS) for value in row] for row in head]
    console = Console(highlight=False)
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
