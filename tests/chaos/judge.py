"""Compare a lake with the producer's ledger: each message once, in the incarnation it was sent to.

Parquet is read with pyarrow and the broker with a consumer of its own (`tests.flow.checker`);
nothing of `etl/` is used. The topic's id joins an incarnation in the catalog to the ledger's: the
ledger asked the broker for it when it made the topic.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.chaos.ledger import BAD, GOOD, TOMBSTONE, Incarnation, Ledger, Place
from tests.flow import checker

Gaps = dict[tuple[str, int], set[Place]]


@dataclass(slots=True)
class Verdict:
    """What a comparison found; `gone` are those of an ended incarnation that no drain read."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misfiled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unread: int = 0
    gone: int = 0
    rows: int = 0

    @property
    def complaints(self) -> list[str]:
        """Return all that is not as it should be."""
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
    incarnations = _incarnations(lake, ledger)
    stored: dict[tuple[str, int], set[Place]] = {key: set() for key in incarnations}
    numbers: Counter[int] = Counter()
    for kind, found in ((GOOD, rows), (BAD, rejects)):
        for (topic, incarnation, *_), row in found:
            _judge_row(verdict, incarnations, stored, numbers, (topic, incarnation), kind, row)
    verdict.doubled += [
        f"message {number} is there {n} times" for number, n in numbers.items() if n > 1
    ]
    verdict.rows = len(rows) + len(rejects)
    for span in catalog.spans:
        if span["absent"]:
            verdict.wrong.append(f"absent offsets where every one was written: {span}")
    verdict.wrong += [f"left behind: {path}" for path in checker.unregistered(lake)]
    gaps = _gaps(verdict, catalog, incarnations)
    _judge_incarnations(verdict, ledger, catalog, incarnations, stored, gaps)
    return verdict


def _incarnations(lake: Path, ledger: Ledger) -> dict[tuple[str, int], Incarnation]:
    """Tell which incarnation each incarnation is."""
    with duckdb.connect(str(lake / "alerts.duckdb"), read_only=True) as public:
        known = public.execute("SELECT topic, incarnation, topic_id FROM etl.topics").fetchall()
    by_id = {incarnation.topic_id: incarnation for incarnation in ledger.all()}
    return {(topic, n): by_id[topic_id] for topic, n, topic_id in known if topic_id in by_id}


def _judge_row(
    verdict: Verdict,
    incarnations: dict[tuple[str, int], Incarnation],
    stored: dict[tuple[str, int], set[Place]],
    numbers: Counter[int],
    key: tuple[str, int],
    kind: str,
    row: dict[str, Any],
) -> None:
    place = row["kafka_partition"], row["kafka_offset"]
    where = f"{key[0]} incarnation {key[1]} [{place[0]}] at {place[1]}"
    incarnation = incarnations.get(key)
    sent = incarnation.sent.get(place) if incarnation else None
    if incarnation is None or incarnation.topic != key[0] or sent is None:
        verdict.misfiled.append(f"{where}: stored, but never sent there")
        return
    if kind == GOOD and row.get("chaos_incarnation") not in (None, incarnation.number):
        verdict.misfiled.append(
            f"{where}: of incarnation {row['chaos_incarnation']}, not {incarnation.number}"
        )
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


def _gaps(
    verdict: Verdict, catalog: checker.Catalog, incarnations: dict[tuple[str, int], Incarnation]
) -> Gaps:
    """Collect the offsets that the catalog calls lost: only what the broker did drop may be."""
    gaps: Gaps = {key: set() for key in incarnations}
    for gap in catalog.gaps:
        key = gap["topic"], gap["incarnation"]
        incarnation = incarnations.get(key)
        places = {(gap["partition"], offset) for offset in range(gap["start"], gap["end"])}
        if incarnation is None or not places <= incarnation.sent.keys():
            verdict.wrong.append(f"a gap where nothing was sent: {gap}")
        elif not incarnation.ended and not places <= incarnation.dropped:
            verdict.lost.append(f"called lost, and the broker has it: {gap}")
        else:
            gaps[key] |= places
    return gaps


def _judge_incarnations(
    verdict: Verdict,
    ledger: Ledger,
    catalog: checker.Catalog,
    incarnations: dict[tuple[str, int], Incarnation],
    stored: dict[tuple[str, int], set[Place]],
    gaps: Gaps,
) -> None:
    """Look for every message, and settle those that are where they should be."""
    ends = {(o["topic"], o["incarnation"], o["partition"]): o["next"] for o in catalog.offsets}
    key_of = {incarnation.topic_id: key for key, incarnation in incarnations.items()}
    for incarnation in ledger.all():
        key = key_of.get(incarnation.topic_id)
        there = stored[key] if key else set()
        lost = gaps[key] if key else set()
        for place, sent in incarnation.sent.items():
            passed = key is not None and place[1] < ends.get((*key, place[0]), 0)
            if passed and (sent.kind == TOMBSTONE or place in there or place in lost):
                incarnation.settled.add(place)
            elif incarnation.ended and place not in incarnation.settled and not passed:
                verdict.gone += 1
            elif not incarnation.ended and place not in incarnation.settled and not passed:
                verdict.unread += 1
            else:
                verdict.lost.append(
                    f"{incarnation.topic} ({incarnation.number}) [{place[0]}] at {place[1]}: "
                    f"nowhere, though {'read past' if passed else 'it had been stored'}"
                )


def compare_with_broker(ledger: Ledger) -> list[str]:
    """See that the broker has what the ledger says: or else the campaign itself is wrong."""
    wrong = []
    for topic in ledger.topics:
        incarnation = ledger.current(topic)
        log = checker.read_topic(ledger.broker.bootstrap_servers, topic)
        kept = {
            place: sent
            for place, sent in incarnation.sent.items()
            if place not in incarnation.dropped
        }
        if {
            place: value for place, (_, value) in log.items() if place not in incarnation.dropped
        } != {place: sent.value for place, sent in kept.items()}:
            wrong.append(f"{topic}: the broker has {len(log)} messages, the ledger {len(kept)}")
    return wrong
