"""A query on an open lake, and its rows in Arrow, pandas, polars or astropy.

In each of them every value is exact: 64-bit ids stay integers, also where some are missing, and a
missing value stays missing.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from etl.errors import WrongUsage
from etl.read import exact
from etl.read.published import Answer, Published
from etl.text.tables import aligned, html_table, shown_text
from etl.text.words import cut

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd
    import polars as pl

PREVIEW_ROWS = 10
CELL_CHARS = 40
FIRST_ROWS = f"first {PREVIEW_ROWS} rows; .df(), .arrow(), .polars() or .astropy() gives all"
DAY_US = 86_400_000_000
LAST_YEAR = 9999


class Selection:
    """The rows of a query, which runs when they are wanted, on the lake's snapshot at that time.

    A conversion reads all rows; a preview only as many as it shows.
    """

    def __init__(
        self,
        published: Callable[[], Published],
        sql: str,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self._published = published
        self._sql = sql
        self._parameters = parameters
        self._kept: pa.Table | None = None

    def kept(self) -> Self:
        """Run the query now and keep its rows, so that it does not run again."""
        self._kept = self.arrow()
        return self

    def _answer(self, limit: int | None = None) -> Answer:
        if self._kept is not None:
            return Answer(self._kept.schema, iter(self._kept.to_batches()))
        return self._published().ask(self._sql, parameters=self._parameters, limit=limit)

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table; a time between two TIMESTAMPs is a duration."""
        answer = self._answer()
        table = pa.Table.from_batches(answer.batches, answer.schema)
        for at, field in enumerate(table.schema):
            if field.type == pa.month_day_nano_interval():
                table = table.set_column(at, field.name, _durations(table.column(at)))
        return table

    def pandas(self) -> "pd.DataFrame":
        """Return all rows as a pandas DataFrame; all columns but floats are Arrow-backed.

        Integers stay integers where some are missing, also in nested lists, where pandas' own types
        would turn them into floats. A missing float is NaN, as plots and fits expect it.
        """
        with needing("pandas"):
            import pandas as pd

        def kind(arrow: pa.DataType) -> Any:
            return None if pa.types.is_floating(arrow) else pd.ArrowDtype(arrow)

        return self.arrow().to_pandas(types_mapper=kind)

    df = pandas

    def polars(self) -> "pl.DataFrame":
        """Return all rows as a polars DataFrame."""
        with needing("polars"):
            import polars as pl
        found = self.arrow()
        for name, values in zip(found.column_names, found.columns, strict=True):
            exact.check_digits(name, values)
        frame = pl.from_arrow(found)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def astropy(self) -> "astropy.table.Table":
        """Return all rows as an astropy Table, with units where `etl.dictionary` knows one.

        A column gets its unit by its name. Numbers with missing values are masked columns;
        TIMESTAMPs are `Time` in UTC, their differences `TimeDelta`; dates are text (2026-02-14);
        lists and structs are objects.
        """
        with needing("astropy"):
            from astropy.table import Table
            from astropy.units import Unit
        found = self.arrow()
        units = self._published().units()
        table = Table()
        for name, values in zip(found.column_names, found.columns, strict=True):
            table[name] = _astropy_column(values.combine_chunks())
            if name in units and pa.types.is_floating(values.type):
                table[name].unit = Unit(units[name])
        return table

    def _preview(self) -> tuple[list[str], list[list[str]], bool]:
        answer = self._answer(limit=PREVIEW_ROWS + 1)
        rows = list(islice(answer.rows(), PREVIEW_ROWS + 1))
        texts = [[cut(shown_text(value, "NULL"), CELL_CHARS) for value in row] for row in rows]
        return answer.schema.names, texts[:PREVIEW_ROWS], len(rows) > PREVIEW_ROWS

    def __repr__(self) -> str:
        names, rows, more = self._preview()
        return "\n".join([*aligned(names, rows), *([FIRST_ROWS] if more else [])])

    def _repr_html_(self) -> str:
        names, rows, more = self._preview()
        return html_table(names, rows) + (f"<p>{FIRST_ROWS}</p>" if more else "")


@contextmanager
def needing(package: str) -> Iterator[None]:
    """Name the command that installs an optional package, where the code inside misses it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "etl":
            raise  # a fault of this program
        raise WrongUsage(
            f"this needs {package}, which is not installed here: pip install {package}"
        ) from error


def _durations(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn DuckDB's INTERVALs into durations in us; months have no length and stay as they are."""
    found = values.to_pylist()
    if any(each is not None and each.months for each in found):
        return values
    lengths = [
        None if each is None else each.days * DAY_US + each.nanoseconds // 1000 for each in found
    ]
    try:
        return pa.chunked_array([pa.array(lengths, pa.int64()).cast(pa.duration("us"))])
    except (OverflowError, pa.ArrowInvalid) as error:
        raise WrongUsage("an INTERVAL that is too long; cast it to VARCHAR") from error


def _astropy_column(values: pa.Array) -> Any:
    """Return a column in a form that astropy can hold, with every value unchanged."""
    import numpy as np
    from astropy.time import TimeDelta

    kind = values.type
    if pa.types.is_decimal(kind) and kind.scale == 0:  # DuckDB's sum() of integers
        try:
            values = values.cast(pa.int64())
        except pa.ArrowInvalid:
            return _objects([None if v is None else int(v) for v in values.to_pylist()])
        kind = values.type
    if pa.types.is_timestamp(kind):
        return _astropy_times(values)
    if pa.types.is_duration(kind):
        lengths_us = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
        days, rest_us = np.divmod(lengths_us, DAY_US)
        lengths = TimeDelta(days, rest_us / DAY_US, format="jd")
        lengths[values.is_null().to_numpy(zero_copy_only=False)] = np.ma.masked
        return lengths
    if pa.types.is_date(kind):
        _refuse_years(values.cast(pa.timestamp("s")))
        values, kind = values.cast(pa.string()), pa.string()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        filled = pc.fill_null(values, False if pa.types.is_boolean(kind) else 0)
        plain = filled.to_numpy(zero_copy_only=False)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.fill_null(values, "").to_pylist()
        if any(text.endswith("\0") for text in texts):  # numpy's text type would lose it
            return _objects(values.to_pylist())
        plain = np.array(texts, dtype=str)
    else:
        return _objects(values.to_pylist())
    if not values.null_count:
        return plain
    return np.ma.MaskedArray(plain, mask=values.is_null().to_numpy(zero_copy_only=False))


def _astropy_times(values: pa.Array) -> Any:
    """Return TIMESTAMPs as `Time` in UTC, read as text: exact, also on days with a leap second."""
    import erfa
    import numpy as np
    from astropy.time import Time

    plain = values.cast(pa.timestamp(values.type.unit))
    _refuse_years(plain)
    texts = pc.fill_null(plain.cast(pa.string()), "2000-01-01 00:00:00").to_pylist()
    with warnings.catch_warnings():
        # erfa doubts UTC before 1960 and in years ahead; what is read and written is the same
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[values.type.unit]
        times = Time(np.array(texts, dtype="U"), format="iso", scale="utc", precision=digits)
        times.format = "isot"
    nulls = values.is_null().to_numpy(zero_copy_only=False)
    if nulls.any():
        times[nulls] = np.ma.masked
    return times


def _refuse_years(times: pa.Array) -> None:
    """Refuse times that astropy does not read."""
    years = pc.min_max(pc.year(times)).as_py()
    if years["max"] is not None and not 1 <= years["min"] <= years["max"] <= LAST_YEAR:
        raise WrongUsage("astropy reads the years 1 to 9999; cast other times to VARCHAR")


def _objects(values: list[Any]) -> Any:
    import numpy as np

    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return column
