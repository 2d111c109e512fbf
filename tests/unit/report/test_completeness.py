from datetime import date, datetime, timedelta

from etl.report.completeness import Beginning, Hole, Night, Reading, Recreated, Rows, nights

NOON = timedelta(hours=12)
FIRST, SECOND, THIRD, FOURTH = (date(2026, 2, day) for day in (10, 11, 12, 13))
READ = Reading("a", datetime(2026, 2, 20), datetime(2026, 2, 20))


def hole(first: date | None, last: date, *, empty: int = 0, lost: int = 0) -> Hole:
    """Make a hole of topic a."""
    return Hole("a", 1, 0, 5, 5 + empty + lost, empty, lost, first, last)


def account(
    *holes: Hole,
    recreated: tuple[Recreated, ...] = (),
    begun: tuple[Beginning, ...] = (),
    readings: tuple[Reading, ...] = (READ,),
) -> dict[date, Night]:
    """Return the account of two nights with rows, by night."""
    rows = [Rows(FIRST, "a", 10, 2, 1), Rows(FOURTH, "a", 20, 0, 0), Rows(FOURTH, "b", 1, 0, 0)]
    return {night.night: night for night in nights(rows, holes, recreated, begun, readings, NOON)}


def test_a_night_without_faults_is_complete() -> None:
    """A night is complete, and says so in one sentence, when all that it got is there."""
    found = account()
    assert list(found) == [FOURTH, FIRST]
    assert found[FIRST].state == found[FOURTH].state == "complete"
    assert found[FIRST].sentence == (
        "Observing night 2026-02-10: of 11 Kafka offsets dated to this night in 1 topic, 10 hold "
        "stored alerts (2 of them Lasair's examples), 1 undecodable message, 0 no message, and 0 "
        "were lost before they were read. Every partition was read past the end of the night."
    )
    assert "21 Kafka offsets dated to this night in 2 topics" in found[FOURTH].sentence


def test_a_hole_within_a_night_is_that_nights() -> None:
    """What has rows of one night on both sides counts for that night, and loss makes it one."""
    night = account(hole(FIRST, FIRST, empty=2, lost=3))[FIRST]
    assert (night.offsets, night.empty, night.lost, night.undated) == (16, 2, 3, 0)
    assert night.state == "loss"


def test_a_hole_between_nights_is_in_no_nights_sum() -> None:
    """What may be of several nights is named in each, also in an empty one, and summed in none."""
    found = account(hole(FIRST, FOURTH, lost=3))
    assert list(found) == [FOURTH, THIRD, SECOND, FIRST]
    assert [night.lost for night in found.values()] == [0, 0, 0, 0]
    assert {night.state for night in found.values()} == {"possible loss"}
    assert found[SECOND].offsets == 0
    assert "3 further offsets without a row, 3 of them lost, may belong" in found[THIRD].sentence


def test_an_empty_offset_between_nights_is_no_loss() -> None:
    """A tombstone between two nights is told, but no night is less complete for it."""
    found = account(hole(FIRST, FOURTH, empty=1))
    assert list(found) == [FOURTH, FIRST]
    assert [(night.undated, night.state) for night in found.values()] == [(1, "complete")] * 2


def test_a_hole_at_the_beginning_may_be_of_any_night_before() -> None:
    """Where no row stands before a loss, every night up to the next row's may have lost it."""
    found = account(hole(None, FIRST, lost=1))
    assert (found[FIRST].state, found[FOURTH].state) == ("possible loss", "complete")


def test_a_night_is_open_until_it_is_read_past_its_end() -> None:
    """A night that some topic is not read to the end of may grow; its end is the next noon."""
    end = datetime(2026, 2, 14, 12)
    for until, state in ((end, "complete"), (end - timedelta(seconds=1), "open"), (None, "open")):
        assert account(readings=(READ, Reading("b", until, end)))[FOURTH].state == state


def test_a_topic_that_is_no_longer_read_does_not_keep_nights_open() -> None:
    """A filter that was given up years ago is nothing that later nights wait for."""
    gone = Reading("gone", None, datetime(2026, 2, 11, 13))
    found = account(readings=(READ, gone))
    assert (found[FIRST].state, found[FOURTH].state) == ("open", "complete")


def test_a_night_that_nobody_looked_at_since_is_open() -> None:
    """A message from the future does not make its night complete."""
    early = Reading("a", datetime(2026, 2, 12), datetime(2026, 2, 12))
    assert account(readings=(early,))[FOURTH].state == "open"


def test_what_a_topic_got_before_it_was_recreated_is_not_known() -> None:
    """The nights between the last reading and the new incarnation are uncertain, and say why."""
    incarnation = Recreated("a", 2, datetime(2026, 2, 13, 13), datetime(2026, 2, 13, 14))
    found = account(recreated=(incarnation,))
    assert (found[FIRST].state, found[FOURTH].state) == ("complete", "uncertain")
    assert (
        "a was recreated, or read in another cluster, between 2026-02-13 13:00"
        in found[FOURTH].sentence
    )


def test_a_night_in_which_the_lake_began_is_uncertain() -> None:
    """Where a topic had messages before the lake read it, the nights they may be of say so."""
    found = account(begun=(Beginning("a", FIRST),))
    assert (found[FIRST].state, found[FOURTH].state) == ("uncertain", "complete")
    assert "a had earlier messages, perhaps of this night" in found[FIRST].sentence


def test_the_gravest_state_counts() -> None:
    """A night that lost something says so, whatever else there is to say."""
    assert account(hole(FIRST, FIRST, lost=1), readings=())[FIRST].state == "loss"


def test_times_far_off_do_no_harm() -> None:
    """Messages whose clock is off by millennia get an account like others."""
    rows = [Rows(date(9999, 12, 31), "a", 1, 0, 0), Rows(date(1970, 1, 1), "a", 1, 0, 0)]
    far = hole(date(1970, 1, 1), date(9999, 12, 31), lost=1)
    found = nights(rows, [far], [], [], [READ], NOON)
    assert [night.state for night in found] == ["possible loss"] * 2
