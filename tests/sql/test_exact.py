"""Every conversion is exact or an error, over the whole range of every type."""

import csv
import io
import json
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import erfa
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import etl
from etl.errors import EtlError, WrongUsage
from etl.read.open_lake import OpenLake
from etl.read.published import Published
from etl.text import tables
from tests.sql.lakes import Writer, alert

FEW = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EPOCH = datetime(1970, 1, 1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenLake]:
    """Open a small lake, only to ask DuckDB through it."""
    writer = Writer(tmp_path_factory.mktemp("exact") / "lake")
    writer.run([alert(1)])
    with etl.open(writer.close().root) as opened:
        yield opened


def asked(lake: OpenLake, texts: list[str], kind: str) -> Any:
    """Select these texts, cast to a type, and a NULL behind them."""
    rows = ", ".join(f"({n}, '{text}')" for n, text in enumerate(texts))
    return lake.sql(
        f"SELECT CASE WHEN n < {len(texts)} THEN t::{kind} END AS x "
        f"FROM (VALUES {rows}, ({len(texts)}, NULL)) AS v(n, t) ORDER BY n"
    )


def instants(times: list[datetime]) -> list[int]:
    """Count microseconds since 1970."""
    return [(when - EPOCH) // timedelta(microseconds=1) for when in times]


LEAP_DAYS = [datetime(2016, 12, 31, 23, 59, 59, 999999), datetime(1972, 6, 30, 23, 59, 59, 1)]
EDGES = [
    *(datetime(1, 1, 1), datetime(1677, 9, 21, 0, 12, 43), datetime(2262, 4, 12)),
    *(datetime(9999, 12, 31, 23, 59, 59, 999999), *LEAP_DAYS, datetime(1582, 10, 10)),
]


def votable(values: list[Any]) -> list[Any]:
    """Write a VOTable with astropy, and read it back."""
    out = io.BytesIO()
    Table({"x": values}).write(out, format="votable")
    out.seek(0)
    return list(Table.read(out, format="votable")["x"])


def test_votable_is_exact_or_an_error(lake: OpenLake) -> None:
    """Astropy's writer keeps 64-bit integers and texts, and refuses `Time` with an error."""
    ids = [2**63 - 1, -(2**63), 0]
    column = asked(lake, list(map(str, ids)), "BIGINT").astropy()["x"][:-1]
    assert votable(column) == ids
    with pytest.raises(ValueError, match="mixin"):
        votable(lake.sql("SELECT TIMESTAMP '2026-02-14' AS x").astropy()["x"])


@FEW
@example(EDGES)
@given(st.lists(st.datetimes(), min_size=1, max_size=20))
def test_times_of_all_years_are_exact(lake: OpenLake, times: list[datetime]) -> None:
    """TIMESTAMPs from year 1 to 9999 are equal to the microsecond in each of them."""
    found = asked(lake, [when.isoformat() for when in times], "TIMESTAMP")
    assert found.arrow()["x"].to_pylist() == [*times, None]
    assert found.polars()["x"].to_list() == [*times, None]
    frame = found.df()["x"]
    assert frame.array._pa_array.cast(pa.int64()).to_pylist() == [*instants(times), None]
    column = found.astropy()["x"]
    assert list(column.mask) == [False] * len(times) + [True]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        isot = [str(text).zfill(26) for text in column.isot[:-1]]
    assert [datetime.fromisoformat(text) for text in isot] == times
    assert votable(isot) == isot
    names, rows = ["x"], [[when] for when in times]
    assert [
        json.loads("".join(tables.json_lines(names, rows)))[n]["x"] for n in range(len(rows))
    ] == [when.isoformat() for when in times]
    (_, *lines) = csv.reader(tables.csv_lines(names, rows))
    assert [datetime.fromisoformat(line[0]) for line in lines] == times


@FEW
@given(st.lists(st.dates(), min_size=1, max_size=20))
def test_dates_of_all_years_are_exact(lake: OpenLake, days: list[date]) -> None:
    """DATEs from year 1 to 9999 are equal in each of them; in astropy as text."""
    found = asked(lake, [day.isoformat() for day in days], "DATE")
    assert found.arrow()["x"].to_pylist() == [*days, None]
    assert found.polars()["x"].to_list() == [*days, None]
    assert found.df()["x"].array._pa_array.to_pylist() == [*days, None]
    assert list(found.astropy()["x"][:-1]) == [day.isoformat() for day in days]


LONG = timedelta(days=106_751_990)


@FEW
@example([LONG, -LONG, timedelta(microseconds=1), timedelta(days=400_000, microseconds=1)])
@given(st.lists(st.timedeltas(-LONG, LONG), min_size=1, max_size=20))
def test_durations_are_exact(lake: OpenLake, lengths: list[timedelta]) -> None:
    """What lies between two times, up to the 292,000 years that Arrow counts in microseconds."""
    texts = [
        f"{each.days} days {each.seconds * 1_000_000 + each.microseconds} us" for each in lengths
    ]
    found = asked(lake, texts, "INTERVAL")
    assert found.arrow()["x"].to_pylist() == [*lengths, None]
    assert found.polars()["x"].to_list() == [*lengths, None]
    assert found.df()["x"].array._pa_array.to_pylist() == [*lengths, None]
    column = found.astropy()["x"][:-1]
    exact = [Decimal(each // timedelta(microseconds=1)) for each in lengths]
    got = [
        (Decimal(float(a)) + Decimal(float(b))) * 86_400_000_000
        for a, b in zip(column.jd1, column.jd2, strict=True)
    ]
    assert [round(each) for each in got] == [int(each) for each in exact]


WHOLE = {
    "BIGINT": (-(2**63), 2**63 - 1),
    "UBIGINT": (0, 2**64 - 1),
    "HUGEINT": (-(2**127), 2**127 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "UTINYINT": (0, 255),
    "DECIMAL(38, 0)": (-(10**38) + 1, 10**38 - 1),
}


@pytest.mark.parametrize("kind", WHOLE)
@FEW
@given(data=st.data())
def test_whole_numbers_are_exact(lake: OpenLake, kind: str, data: st.DataObject) -> None:
    """All integers up to 128 bits are integers, or an error, in each of them, also when nested."""
    low, high = WHOLE[kind]
    numbers = [low, high, *data.draw(st.lists(st.integers(low, high), max_size=5))]
    found = asked(lake, list(map(str, numbers)), kind)
    assert found.arrow()["x"].to_pylist() == [*numbers, None]
    assert found.df()["x"].array._pa_array.to_pylist() == [*numbers, None]
    assert [int(each) for each in found.astropy()["x"][:-1]] == numbers
    try:
        assert found.polars()["x"].to_list() == [*numbers, None]
    except WrongUsage:
        assert kind == "HUGEINT"
    listed = ", ".join(f"'{number}'::{kind}" for number in numbers)
    (nested,) = lake.sql(f"SELECT {{'a': [{listed}]}} AS x").arrow()["x"].to_pylist()
    assert nested == {"a": numbers}


@FEW
@given(st.lists(st.decimals(-(10**8), 10**8, places=9), min_size=1, max_size=9))
def test_decimals_are_exact(lake: OpenLake, numbers: list[Decimal]) -> None:
    """DECIMALs keep all digits in each of them."""
    found = asked(lake, list(map(str, numbers)), "DECIMAL(20, 9)")
    assert found.arrow()["x"].to_pylist() == [*numbers, None]
    assert found.polars()["x"].to_list() == [*numbers, None]
    assert found.df()["x"].array._pa_array.to_pylist() == [*numbers, None]
    assert list(found.astropy()["x"]) == [*numbers, None]


REFUSED = """
'infinity'::TIMESTAMP
'-infinity'::TIMESTAMP
'infinity'::TIMESTAMPTZ
'infinity'::DATE
'-infinity'::DATE
['infinity'::TIMESTAMP]
{'a': [{'b': 'infinity'::DATE}]}
MAP {1: 'infinity'::TIMESTAMP}
TIME '24:00:00'
TIMETZ '23:59:59+15:59:59'
'23:59:59.999999999'::TIME_NS
340282366920938463463374607431768211455::UHUGEINT
[1::UHUGEINT]
to_microseconds(9223372036854775807)
to_hours(2562048)
[INTERVAL 1 DAY]
'1010'::BIT
123456789012345678901234567890::BIGNUM
""".strip().splitlines()


@pytest.mark.parametrize("value", REFUSED)
def test_what_can_not_be_exact_is_refused(lake: OpenLake, tmp_path: Path, value: str) -> None:
    """A value that DuckDB would hand on as another one is an error everywhere."""
    for form in ("arrow", "df", "polars", "astropy", "__repr__"):
        with pytest.raises(EtlError, match=r"cast|too long"):
            getattr(lake.sql(f"SELECT {value} AS x"), form)()
    with Published(lake._lake) as published, pytest.raises(WrongUsage, match=r"cast|too long"):
        published.ask(f"SELECT {value} AS x").write_parquet(tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    "value", ["TIMESTAMP '290000-01-01 (BC)'", "TIMESTAMP '294246-12-31'", "DATE '10000-01-01'"]
)
def test_years_that_few_know_are_exact_or_refused(
    lake: OpenLake, tmp_path: Path, value: str
) -> None:
    """Beyond years 1 to 9999 Arrow and Parquet are exact; Python and astropy are an error."""
    found = lake.sql(f"SELECT {value} AS x, epoch_us({value}) AS us")
    for form in ("astropy", "__repr__"):
        with pytest.raises(WrongUsage):
            getattr(found, form)()
    table = found.arrow()
    assert table["x"].cast(pa.timestamp("us")).cast(pa.int64()) == table["us"]
    with Published(lake._lake) as published:
        published.ask(f"SELECT {value} AS x").write_parquet(tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet")["x"] == table["x"]


def test_nanoseconds_are_exact(lake: OpenLake) -> None:
    """TIMESTAMP_NS keeps all nine digits, also in CSV and JSON."""
    text = "2026-02-14 13:41:02.000000007"
    found = lake.sql(f"SELECT '{text}'::TIMESTAMP_NS AS x")
    assert found.astropy()["x"].iso[0] == text
    with Published(lake._lake) as published:
        assert list(published.ask(f"SELECT '{text}'::TIMESTAMP_NS AS x").rows()) == [(text,)]


def test_floats_are_exact(lake: OpenLake) -> None:
    """Every DOUBLE is the same bits; FLOAT is widened by nobody."""
    numbers = [5e-324, 1.7976931348623157e308, -0.0, 0.1, float("inf")]
    found = asked(lake, list(map(repr, numbers)), "DOUBLE")
    for got in (found.arrow()["x"].to_numpy(), found.df()["x"].to_numpy(), found.polars()["x"]):
        assert [float(each).hex() for each in list(got)[:5]] == [each.hex() for each in numbers]
    assert found.astropy()["x"].dtype == np.float64
    assert asked(lake, ["0.1"], "FLOAT").astropy()["x"].dtype == np.float32


def test_instants_are_utc(lake: OpenLake) -> None:
    """A TIMESTAMPTZ is the instant that it is, in UTC."""
    found = lake.sql("SELECT '2026-02-14 02:00:00+02'::TIMESTAMPTZ AS x")
    assert found.arrow()["x"].to_pylist() == [datetime(2026, 2, 14, tzinfo=UTC)]
    assert found.astropy()["x"].isot[0] == "2026-02-14T00:00:00.000000"
