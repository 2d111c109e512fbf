"""librdkafka's settings that this program owns: they can't be set from outside."""

from collections.abc import Mapping

# What the promise of every alert once stands on.
OWNED: Mapping[str, bool | str] = {
    "allow.auto.create.topics": False,
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
}

# What means nothing beside those, is set elsewhere, or has a setting with a name of its own.
REFUSED = frozenset(
    {
        *OWNED,
        "auto.commit.interval.ms",
        "bootstrap.servers",
        "default.topic.config",
        "error_cb",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "logger",
        "metadata.broker.list",
        "on_commit",
        "partition.assignment.strategy",
    }
)
