"""The group's committed offsets: a mirror of the catalog's, for lag monitors."""

import ctypes
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

COMMIT_TIMEOUT_S = 10.0


class Mirror:
    """Commits offsets to the group, from a consumer of its own.

    Notes
    -----
    While a broker is frozen, a commit that it does not answer blocks a synchronous call and the
    closing of its consumer (librdkafka 2.16.0: longer than 700 s;
    https://github.com/confluentinc/librdkafka/issues/3740). So each commit is waited for up to a
    deadline only, and after one without an answer the consumer is never closed or freed. When
    that issue is fixed, the reading consumer can commit, and this class can go.
    """

    def __init__(self, config: Mapping[str, Any], timeout_s: float) -> None:
        self.config = dict(config) | {"on_commit": self._take_answer}
        self.timeout_s = min(timeout_s, COMMIT_TIMEOUT_S)
        self._consumer: Consumer | None = None
        self._is_abandoned = False
        self._answers: list[str] = []

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> str | None:
        """Commit offsets; return the reason where that fails, None where it worked."""
        if not offsets:
            return None
        if self._is_abandoned:
            return "the broker did not answer an earlier commit"
        if self._consumer is None:
            self._consumer = Consumer(self.config)
        self._answers.clear()
        wanted = [TopicPartition(t, p, offset) for (t, p), offset in offsets.items()]
        try:
            self._consumer.commit(offsets=wanted, asynchronous=True)
            until = time.monotonic() + self.timeout_s
            while not self._answers and time.monotonic() < until:
                self._consumer.poll(0.005)
        except KafkaException as error:
            return str(error.args[0].str())
        if not self._answers:
            self._abandon(self._consumer)
            return "the broker does not answer"
        return self._answers[0] or None

    def close(self) -> None:
        """Close the consumer, unless that could take for ever."""
        if self._consumer is not None:
            self._consumer.close()

    def _abandon(self, consumer: Consumer) -> None:
        """Keep the consumer to the end of the process: freeing it closes it."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(consumer))
        self._consumer, self._is_abandoned = None, True

    def _take_answer(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        failed = [partition.error for partition in partitions if partition.error is not None]
        worst = error if error is not None else next(iter(failed), None)
        self._answers.append(worst.str() if worst is not None else "")
