"""The topics as the broker has them: ids, partitions, and where these begin and end."""

from collections.abc import Mapping
from dataclasses import dataclass

SETTLE_S = 0.1

# The library keeps its own timeouts; this much later it is a bug of it, not a silent broker.
GRACE_S = 5.0

# Base64 of the all-zero id: what a broker without topic ids answers.
NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker has it: its id, and the offsets `[low, high)` of each partition."""

    topic: str
    topic_id: str | None
    low: Mapping[int, int]
    high: Mapping[int, int]
