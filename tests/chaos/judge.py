"""Compare a lake with the producer's ledger: each message once, in the life it was sent to.

Parquet is read with pyarrow and the broker with a consumer of its own (`tests.flow.checker`);
nothing of `etl/` is used. Which life an incarnation of the catalog is follows from the topic's
id, which the ledger asked the broker for when it made the topic.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.chaos.ledger import BAD, GOOD, TOMBSTONE, Ledger, Life, Place
from tests.flow import checker

Gaps = dict[tuple[str, int], set[Place]]


@dataclass(slots=True)
class Verdict:
    """What a comparison found; `gone` are messages of an ended life that no drain had read."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misfiled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unread: int = 0
    gone: int = 0
    rows: int = 0

    @property
    def complaints(self) -> list[str]:
        """Give all that is not as it should be."""
        return self.lost + self.doubled + self.misfiled + self.wrong


def judge(lake: Path, ledger: Ledger) -> Verdict:
    """Account for every message of the ledger and for every row of the lake."""
    verdict = Verdict()
    catalog = checker.read_catalog(lake)
    try:
        checker.check_tiling(catalog)
        rows, rejects = checker.stored_rows(lake, catalog, night_hours=12)
    except AssertionError as error:
        verdict.wrong.append(str(error))
        return verdict
    lives = _lives(lake, ledger)
    stored: dict[tuple[str, int], set[Place]] = {key: set() for key in lives}
    numbers: Counter[int] = Counter()
    for kind, found in ((GOOD, rows), (BAD, rejects)):
        for (topic, incarnation, *_), row in found:
            _judge_row(verdict, lives, stored, numbers, (topic, incarnation), kind, row)
    verdict.doubled += [
        f"message {number} is there {n} times" for number, n in numbers.items() if n > 1
    ]
    verdict.rows = len(rows) + len(rejects)
    for span in catalog.spans:
        if span["absent"]:
            verdict.wrong.append(f"absent offsets where every one was written: {span}")
    verdict.wrong += [f"left behind: {path}" for path in checker.unregistered(lake)]
    gaps = _gaps(verdict, catalog, lives)
    _judge_lives(verdict, ledger, catalog, lives, stored, gaps)
    return verdict


def _lives(lake: Path, ledger: Ledger) -> dict[tuple[str, int], Life]:
    """Tell which life each incarnation is."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        known = public.execute("SELECT topic, incarnation, topic_id FROM etl.topics").fetchall()
    by_id = {life.topic_id: life for life in ledger.all()}
    return {(topic, n): by_id[topic_id] for topic, n, topic_id in known if topic_id in by_id}


def _judge_row(
    verdict: Verdict,
    lives: dict[tuple[str, int], Life],
    stored: dict[tuple[str, int], set[Place]],
    numbers: Counter[int],
    key: tuple[str, int],
    kind: str,
    row: dict[str, Any],
) -> None:
    place = row["kafka_partition"], row["kafka_offset"]
    where = f"{key[0]} incarnation {key[1]} [{place[0]}] at {place[1]}"
    life = lives.get(key)
    sent = life.sent.get(place) if life else None
    if life is None or life.topic != key[0] or sent is None:
        verdict.misfiled.append(f"{where}: stored, but never sent there")
        return
    if kind == GOOD and row.get("chaos_life") not in (None, life.number):
        verdict.misfiled.append(f"{where}: of life {row['chaos_life']}, not {life.number}")
        return
    numbers[sent.number] += 1
    stored[key].add(place)
    if kind != sent.kind:
        verdict.wrong.append(f"{where}: sent as {sent.kind}, stored as {kind}: {sent.value!r:.100}")
        return
    try:
        checker.check_time((*key, *place), row, sent.stamp_ms)
        if kind == GOOD and sent.value is not None:
            checker.compare(checker.alert_of(row), sent.value, where)
        else:
            assert row["value"] == sent.value, f"{where}: the bytes are not the message's"
            assert row["reason"], f"{where}: a reject without a reason"
    except AssertionError as error:
        verdict.wrong.append(str(error))


def _gaps(verdict: Verdict, catalog: checker.Catalog, lives: dict[tuple[str, int], Life]) -> Gaps:
    """Collect the offsets that the catalog calls lost: only what the broker did drop may be."""
    gaps: Gaps = {key: set() for key in lives}
    for gap in catalog.gaps:
        key = gap["topic"], gap["incarnation"]
        life = lives.get(key)
        places = {(gap["partition"], offset) for offset in range(gap["start"], gap["end"])}
        if life is None or not places <= life.sent.keys():
            verdict.wrong.append(f"a gap where nothing was sent: {gap}")
        elif not life.ended and not places <= life.dropped:
            verdict.lost.append(f"called lost, and the broker has it: {gap}")
        else:
            gaps[key] |= places
    return gaps


def _judge_lives(
    verdict: Verdict,
    ledger: Ledger,
    catalog: checker.Catalog,
    lives: dict[tuple[str, int], Life],
    stored: dict[tuple[str, int], set[Place]],
    gaps: Gaps,
) -> None:
    """Look for every message of every life, and settle those that are where they should be."""
    ends = {(o["topic"], o["incarnation"], o["partition"]): o["next"] for o in catalog.offsets}
    key_of = {life.topic_id: key for key, life in lives.items()}
    for life in ledger.all():
        key = key_of.get(life.topic_id)
        there = stored[key] if key else set()
        lost = gaps[key] if key else set()
        for place, sent in life.sent.items():
            passed = key is not None and place[1] < ends.get((*key, place[0]), 0)
            if passed and (sent.kind == TOMBSTONE or place in there or place in lost):
                life.settled.add(place)
            elif life.ended and place not in life.settled and not passed:
                verdict.gone += 1
            elif not life.ended and place not in life.settled and not passed:
                verdict.unread += 1
            else:
                verdict.lost.append(
                    f"{life.topic} life {life.number} [{place[0]}] at {place[1]}: nowhere, though "
                    f"{'read past' if passed else 'it had been stored'}"
                )


def compare_with_broker(ledger: Ledger) -> list[str]:
    """See that the broker has what the ledger says: or else the campaign itself is wrong."""
    wrong = []
    for topic in ledger.topics:
        life = ledger.current(topic)
        log = checker.read_topic(ledger.broker.bootstrap_servers, topic)
        kept = {place: sent for place, sent in life.sent.items() if place not in life.dropped}
        if {place: value for place, (_, value) in log.items() if place not in life.dropped} != {
            place: sent.value for place, sent in kept.items()
        }:
            wrong.append(f"{topic}: the broker has {len(log)} messages, the ledger {len(kept)}")
    return wrong
