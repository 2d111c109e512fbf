from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.astro import from_galactic
from etl.config.settings import Settings
from etl.jobs.compact import compact
from etl.lake.layout import Lake
from etl.read.published import Published
from etl.report.completeness import Hole
from tests.sql.lakes import Writer, alert, altered

FIRST, SECOND = date(2026, 2, 14), date(2026, 2, 15)
FOUND = date(2026, 2, 15)  # when the small lake's runs end


def holes(lake: Lake) -> list[Hole]:
    """Return what the account knows of offsets without a row."""
    with Published(lake) as published:
        return [Hole(*row) for row in published.rows("report/holes")]


def test_a_lake_without_holes_has_none(tmp_path: Path) -> None:
    """Where every offset has its row, nothing is to be dated."""
    writer = Writer(tmp_path)
    writer.run([alert(1), alert(2)])
    writer.run([alert(3), b"no json"], hours=30)
    assert holes(writer.close()) == []


def test_holes_lie_between_the_rows_around_them(tmp_path: Path) -> None:
    """A hole has the nights of its neighbours, which may be rejects, and counts lost and empty."""
    writer = Writer(tmp_path)
    writer.run([alert(1), None, None, b"no json", alert(2), alert(3)])
    writer.run([None, alert(4), alert(5), alert(6)], hours=24, lost=3)
    assert holes(writer.close()) == [
        Hole("lasair_one", 1, 0, 1, 2, 1, 0, FIRST, FIRST),
        Hole("lasair_one", 1, 0, 3, 7, 1, 3, FIRST, SECOND),
        Hole("lasair_one", 1, 1, 0, 1, 1, 0, None, FIRST),
    ]


def test_a_hole_at_the_end_is_no_later_than_it_was_found(tmp_path: Path) -> None:
    """Where no row follows, the day bounds it on which the offsets were found to have none."""
    writer = Writer(tmp_path)
    writer.run([alert(1), alert(2), None, None])
    assert [hole.last_night for hole in holes(writer.close())] == [FOUND, FOUND]


def test_incarnations_are_kept_apart(tmp_path: Path) -> None:
    """The offsets of a topic's second incarnation have nothing to do with those of its first."""
    writer = Writer(tmp_path)
    writer.run([alert(n) for n in range(6)])
    writer.run([alert(7), alert(8), None, None, alert(9), alert(10)], hours=24, incarnation=2)
    assert holes(writer.close()) == [
        Hole("lasair_one", 2, p, 1, 2, 1, 0, SECOND, SECOND) for p in (0, 1)
    ]


def test_compaction_changes_nothing_that_the_report_counts(tmp_path: Path) -> None:
    """Runs, totals, holes and nights are those of before; a compaction is no run that drained."""
    writer = Writer(tmp_path)
    for night in range(3):
        for turn in range(4):
            writer.run([alert(turn), b"no json", None, alert(9)], hours=24 * night + turn)
    lake = writer.close()

    def counted() -> list[object]:
        names = ("nights", "holes", "read_until", "beginnings")
        with Published(lake) as published:
            runs = published.rows("report/runs", wrong=False, most=50)
            totals = [row[:-1] for row in published.rows("report/totals")]  # all but the bytes
            return [runs, totals, *(published.rows(f"report/{name}") for name in names)]

    before = counted()
    assert compact(Settings("", "", (), tmp_path)).files_after == 2
    assert counted() == before


@pytest.fixture
def read_lake(tmp_path: Path) -> Lake:
    """Make a lake whose run reached all ends."""
    writer = Writer(tmp_path)
    writer.run([alert(1), alert(2)])
    lake = writer.close()
    with altered(lake) as connection:
        connection.execute(
            "UPDATE etl.runs SET lag = 0, ended_at = (SELECT last_seen FROM etl.topics)"
        )
    return lake


def read_until(lake: Lake) -> str:
    """Return up to when the only topic is read."""
    with Published(lake) as published:
        ((_, until),) = published.rows("report/read_until")
    return str(until)


@pytest.mark.parametrize(
    ("change", "until"),
    [
        ("UPDATE etl.runs SET lag = 0", "2026-02-15 13:00:00"),  # the run's beginning
        ("UPDATE etl.runs SET lag = 1", "2026-02-14 12:00:00"),  # the newest message
        ("UPDATE etl.runs SET lag = NULL", "2026-02-14 12:00:00"),
        ("UPDATE etl.runs SET exit_code = 75", "2026-02-14 12:00:00"),
        ("UPDATE etl.runs SET state = 'open'", "2026-02-14 12:00:00"),
        ("UPDATE etl.offsets SET last_timestamp_ms = NULL", "2026-02-15 13:00:00"),
        ("UPDATE etl.offsets SET last_timestamp_ms = 9e12", "2026-02-15 13:00:00"),
        ("UPDATE etl.runs SET lag = 1; UPDATE etl.offsets SET last_timestamp_ms = NULL", "None"),
    ],
)
def test_a_topic_is_read_until(read_lake: Lake, change: str, until: str) -> None:
    """A run that left nothing proves reading up to its beginning, a message up to its own time."""
    with altered(read_lake) as connection:
        connection.execute(change)
    assert read_until(read_lake) == until


def test_what_was_there_before_the_lake_has_a_last_night(tmp_path: Path) -> None:
    """What came before a partition's first offset here is no later than its first row."""
    writer = Writer(tmp_path)
    writer.run([alert(1), alert(2), alert(3)], topic="lasair_one", hours=48)
    writer.run([alert(1)], topic="lasair_two", hours=48)
    lake = writer.close()
    with Published(lake) as published:
        assert published.rows("report/beginnings") == []
    with altered(lake) as connection:
        connection.execute("UPDATE etl.offsets SET first = 5 WHERE partition = 1")
    with Published(lake) as published:
        assert published.rows("report/beginnings") == [
            ("lasair_one", date(2026, 2, 16)),
            ("lasair_two", FOUND),  # no row there: the day on which the topic was met
        ]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Open a small lake, for its macros."""
    writer = Writer(tmp_path_factory.mktemp("macros"))
    writer.run([alert(1)])
    with Published(writer.close()) as found:
        yield found


@given(st.floats(0, 359.9), st.floats(-89, 89))
def test_the_maps_galaxy_is_the_macros(published: Published, longitude: float, b: float) -> None:
    """The galactic plane on the map is where the macro `galactic` has it, to a hundredth degree."""
    statement = "SELECT separation_arcsec(g.l, g.b, $l, $b) FROM (SELECT galactic($ra, $decl) AS g)"
    ra, decl = from_galactic(longitude, b)
    given_values = {"l": longitude, "b": b, "ra": ra, "decl": decl}
    ((distance_arcsec,),) = published.ask(statement, parameters=given_values).rows()
    assert distance_arcsec < 36
