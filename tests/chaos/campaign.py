"""The campaign: round after round one fault, then plain drains, then the account of everything."""

import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import duckdb
from confluent_kafka import KafkaException

from etl.demo.embedded_broker import tansu_binary
from etl.errors import OK, TRY_LATER
from tests.chaos import stage
from tests.chaos.judge import Verdict, compare_with_broker, judge
from tests.chaos.ledger import Ledger, Stock
from tests.chaos.readers import Readers, reading
from tests.chaos.repertoire import FAULTS, Kind
from tests.chaos.scene import Scene, has_read_all
from tests.flow.brokers import Broker
from tests.flow.clusters import Clusters
from tests.flow.drains import abandon_all
from tests.kafka_server import KafkaServer

ROUNDS_A_LAKE = 15
SETTINGS = "max_reject_percent = 100\nkeep_retired = 0.0005\n"
"""Retired files are kept for longer than any look takes, and yet some rounds delete some."""


@dataclass(slots=True)
class Tally:
    """What the campaign adds up."""

    seed: int
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    gone: int = 0
    lost: int = 0
    doubled: int = 0
    misfiled: int = 0
    reader_errors: int = 0
    looks: int = 0
    other: int = 0

    @property
    def wrong(self) -> int:
        """Count all that should not have been."""
        return self.lost + self.doubled + self.misfiled + self.reader_errors + self.other


class Campaign:
    """A seeded sequence of rounds on one broker; `say` is told what each found."""

    def __init__(
        self, seed: int, broker: Broker, server: KafkaServer | None, disk: stage.Disk | None,
        folder: Path, say: Callable[[str, bool], None], only: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.tally = Tally(seed)
        self.broker = broker
        self.server = server
        self.disk = disk
        self.folder = folder
        self.say = say
        self.stock = Stock(Random(seed))
        self.usual_s = 1.5
        self.settings = folder / "settings.toml"
        self.settings.write_text(SETTINGS, encoding="utf-8")
        self._numbers = count(1)
        here = {"kafka"} if server else set()
        here |= {"disk"} if disk else set()
        here |= {"another"} if tansu_binary() else set()
        self.faults = {
            name: kind
            for name, kind in FAULTS.items()
            if kind.needs <= here and name in (only or FAULTS)
        }

    def play(self, first: int, end: int) -> None:
        """Play the rounds `[first, end)`, with a new lake and new topics every few."""
        start = first
        while start < end:
            start = self._play_lake(start, self._end_of_lake(start, end))

    def _end_of_lake(self, start: int, end: int) -> int:
        """Return the round that needs another lake than the one which begins at `start`."""
        last = min(start + ROUNDS_A_LAKE, end)
        rounds = range(start + 1, last)
        return next((n for n in rounds if self.faults[self._choose(n)[0]].begins), last)

    def _choose(self, number: int) -> tuple[str, Random]:
        """Choose a round's fault, and return what the rest of the round is chosen by."""
        chance = Random(f"{self.tally.seed} round {number}")
        weights = [kind.weight for kind in self.faults.values()]
        return chance.choices(list(self.faults), weights)[0], chance

    def _play_lake(self, start: int, end: int) -> int:
        """Play rounds on one lake and give the round to go on with.

        What is wrong in a lake stays wrong, and would be told again after every round: the next
        round then has another lake.
        """
        before, gone = self.tally.wrong, 0
        chance = Random(f"{self.tally.seed} lake {start}")
        lake = (self.disk.folder if self.disk else self.folder) / f"lake-{start}"
        ledger = Ledger(self.broker, chance, self._numbers)
        for n in range(chance.randint(1, 2)):
            ledger.create(f"lasair_chaos_{start}_{n}", chance.randint(1, 4))
        with ExitStack() as stack:
            stack.callback(_remove, lake, ledger)
            if self.disk:
                stack.callback(self.disk.free)
            readers = stack.enter_context(reading(lake))
            for number in range(start, end):
                try:
                    gone = self._play_round(number, ledger, lake, readers)
                except (AssertionError, KafkaException, duckdb.Error):
                    self._complain(f"round {number} came to no end: {traceback.format_exc()}")
                finally:
                    abandon_all()
                if self.tally.wrong > before:
                    break
            for complaint in compare_with_broker(ledger):
                self._complain(complaint)
        self.tally.looks += readers.looks
        self.tally.gone += gone
        return number + 1

    def _play_round(self, number: int, ledger: Ledger, lake: Path, readers: Readers) -> int:
        name, chance = self._choose(number)
        began = time.monotonic()
        self.tally.rounds += 1
        self.tally.faults[name] += 1
        with ExitStack() as stack:
            clusters = Clusters("embedded", self.folder, stack)
            scene = Scene(
                chance, ledger, self.stock, lake, readers, self.server, self.disk, self.settings,
                clusters, self.usual_s,
            )  # fmt: skip
            scene.send()
            reruns = self._fault_and_after(name, self.faults[name], scene)
        judged = time.monotonic()
        verdict = judge(lake, ledger)
        wrong = readers.report()
        self._add(scene, verdict, wrong)
        self.say(
            f"round {number}: {name}: {scene.sent} messages, exits {scene.codes}, {reruns} plain, "
            f"{verdict.rows} rows, {verdict.gone} gone, {time.monotonic() - began:.1f} s "
            f"({time.monotonic() - judged:.1f} s to check)",
            False,
        )
        for complaint in verdict.complaints[:5]:
            self._say_wrong(number, name, complaint)
        for complaint in wrong[:5]:
            self._say_wrong(number, name, f"a reader: {complaint}")
        if verdict.unread:
            self._complain(f"round {number}: {name}: {verdict.unread} messages are still unread")
        return verdict.gone

    def _fault_and_after(self, name: str, kind: Kind, scene: Scene) -> int:
        """Play the fault, let the operator help, and drain until everything is read."""
        met = kind.play(scene)
        for ended in met:
            if ended.code not in kind.codes:
                self._complain(f"{name}: the drain ended oddly: {ended}")
            if "Traceback" in ended.output:
                self._complain(f"{name}: the drain fell over: {ended}")
        if kind.told is not None and kind.told not in {ended.code for ended in met}:
            self._complain(f"{name}: no drain ended with {kind.told}: {met}")
        helped, plain = kind.operator(scene, met), scene.settle()
        for ended in [*helped, *plain]:
            if ended.code not in (OK, TRY_LATER):
                self._complain(f"{name}: the plain drain after it ended oddly: {ended}")
        if not has_read_all(plain[-1]):
            self._complain(f"{name}: {len(plain)} plain drains left something: {plain[-1]}")
        else:
            self.usual_s = 0.7 * self.usual_s + 0.3 * plain[-1].seconds
        return len(plain)

    def _add(self, scene: Scene, verdict: Verdict, wrong: list[str]) -> None:
        tally = self.tally
        tally.codes.update(scene.codes)
        tally.messages += scene.sent
        tally.lost += len(verdict.lost)
        tally.doubled += len(verdict.doubled)
        tally.misfiled += len(verdict.misfiled)
        tally.other += len(verdict.wrong)
        tally.reader_errors += len(wrong)

    def _say_wrong(self, number: int, name: str, what: str) -> None:
        self.say(f"WRONG in round {number} ({name}), seed {self.tally.seed}: {what:.2000}", True)

    def _complain(self, what: str) -> None:
        self.tally.other += 1
        self.say(f"WRONG, seed {self.tally.seed}: {what}", True)


def _remove(lake: Path, ledger: Ledger) -> None:
    """Drop a lake and its topics, which cost room and time from here on."""
    shutil.rmtree(lake, ignore_errors=True)
    for topic in ledger.topics:
        with suppress(KafkaException):
            ledger.broker.delete(topic)
