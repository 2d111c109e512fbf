"""How a run recognises topics and clusters, in words that settings and plans share."""

from dataclasses import dataclass
from enum import Enum


class Arrival(Enum):
    """How a run recognised the incarnation of a topic that it reads."""

    FIRST = "the lake meets the topic for the first time"
    SAME = "the incarnation that the last run read"
    RETURNED = "an earlier incarnation, which is there again"
    RECREATED = "a new incarnation in a cluster that the lake knows"
    REBUILT = "another cluster under the same address"
    MOVED = "another cluster, to which the user says the stream has moved"
    ANOTHER = "another cluster, which the user calls another source"


@dataclass(frozen=True, slots=True)
class ClusterDecision:
    """What the user says of the cluster with this id, which the lake does not know."""

    arrival: Arrival
    cluster_id: str
