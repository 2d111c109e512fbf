"""What DuckDB does not hand on to Arrow exactly: it is refused, and never changed in silence."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.errors import WrongUsage
from etl.statements import quoted

# DuckDB 2.0 hands these on as something else: UHUGEINT wraps to negative numbers, the time zone and
# the nanoseconds are dropped, BIT and BIGNUM become bytes of DuckDB's own.
CHANGED = {"uhugeint", "time with time zone", "time_ns", "bit", "bignum"}
NESTED = {"list", "array", "struct", "map", "union"}

# DuckDB counts an INTERVAL's part below a day in microseconds, Arrow in nanoseconds: 2^63 of them.
MOST_HOURS = 2_562_047

DAY_US = 86_400_000_000
MOST_DIGITS = 38


def guarded(names: list[str], types: list[Any]) -> str | None:
    """Write a projection that refuses an INTERVAL that is too long; None where there is none.

    Raises
    ------
    WrongUsage
        A column has a type that does not come through.
    """
    for name, kind in zip(names, types, strict=True):
        for inner in _types(kind):
            if inner in CHANGED or (inner == "interval" and kind.id != "interval"):
                raise _inexact(name, inner.upper())
    if not any(kind.id == "interval" for kind in types):
        return None
    return ", ".join(
        f"CASE WHEN abs(date_part('hour', #{n})) < {MOST_HOURS} OR #{n} IS NULL THEN #{n} "
        f"ELSE error('an INTERVAL that is too long; cast it to VARCHAR') END AS {quoted(name)}"
        if kind.id == "interval"
        else f"#{n} AS {quoted(name)}"
        for n, (name, kind) in enumerate(zip(names, types, strict=True), 1)
    )


def _types(kind: Any) -> Iterator[str]:
    """Go through a DuckDB type and all that it contains, by name."""
    yield kind.id
    if kind.id in NESTED:
        for _, child in kind.children:
            if hasattr(child, "id"):  # an array's size stands there too
                yield from _types(child)


def check(name: str, values: pa.Array) -> None:
    """Refuse infinite times and 24 o'clock, at any depth: Arrow has none.

    Raises
    ------
    WrongUsage
        There is one in the column of this name.
    """
    kind = values.type
    if pa.types.is_struct(kind):
        for field, inner in zip(kind, values.flatten(), strict=True):
            check(f"{name}.{field.name}", inner)
    elif pa.types.is_map(kind):
        check(name, values.keys)
        check(name, values.items)
    elif pa.types.is_nested(kind) and hasattr(values, "flatten"):
        check(name, values.flatten())
    elif pa.types.is_timestamp(kind):
        _refuse(name, values.cast(pa.int64()), 2**63 - 1)
    elif pa.types.is_date32(kind):
        _refuse(name, values.cast(pa.int32()), 2**31 - 1)
    elif pa.types.is_time64(kind):
        _refuse(name, values.cast(pa.int64()), DAY_US)


def check_digits(name: str, values: pa.ChunkedArray) -> None:
    """Refuse integers of 39 digits, which DuckDB's HUGEINT has and polars' decimals have not.

    Raises
    ------
    WrongUsage
        There is one in the column of this name.
    """
    if pa.types.is_decimal(values.type) and values.type.precision == MOST_DIGITS:
        found = pc.min_max(values).as_py()
        if found["max"] is not None and not -(10**38) < found["min"] <= found["max"] < 10**38:
            raise _inexact(name, "integers of 39 digits")


def _refuse(name: str, numbers: pa.Array, most: int) -> None:
    found = pc.min_max(numbers).as_py()
    if found["max"] is not None and not -most < found["min"] <= found["max"] < most:
        raise _inexact(name, "infinite times, or 24:00")


def _inexact(name: str, what: str) -> WrongUsage:
    return WrongUsage(
        f"{name}: {what} can't be handed on exactly; cast it, to VARCHAR for instance"
    )
