"""librdkafka's settings that this program owns, refuses, or takes only from a named file."""

import re
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
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "bootstrap.servers",
        "default.topic.config",
        "error_cb",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "internal.termination.signal",
        "logger",
        "metadata.broker.list",
        "offset.store.method",
        "offset.store.path",
        "offset.store.sync.interval.ms",
        "on_commit",
        "partition.assignment.strategy",
    }
)

# What loads code, runs commands (Kerberos puts these values into a shell's command line), or sends
# this computer's files and identity to an address that stands in the same settings file.
DANGEROUS = frozenset(
    {
        "plugin.library.paths",
        "sasl.kerberos.keytab",
        "sasl.kerberos.kinit.cmd",
        "sasl.kerberos.principal",
        "sasl.kerberos.service.name",
        "sasl.oauthbearer.assertion.file",
        "sasl.oauthbearer.assertion.jwt.template.file",
        "sasl.oauthbearer.assertion.private.key.file",
        "sasl.oauthbearer.metadata.authentication.type",
        "ssl.engine.id",
        "ssl.engine.location",
        "ssl.providers",
    }
)

# C reads a name only up to a NUL, so that "enable.auto.commit\0" would be that setting.
_NAME = re.compile(r"[a-z0-9._]+")
_FUNCTION = re.compile(r".*_cb|on_.*|opaque|interceptors|default_topic_conf")

# No whole number of librdkafka is larger; C would read the rest of a larger one.
MOST_NUMBER = 2**31 - 1


def key_complaint(key: str) -> str | None:
    """Return why nobody can set this, None where anybody can.

    >>> key_complaint("stats_cb")
    'needs a function, which settings do not hold; remove it'
    """
    if not _NAME.fullmatch(key):
        return "not a name of librdkafka: small letters, digits, '.' and '_'"
    if key in REFUSED:
        return "lasair-etl sets this itself; remove it"
    if _FUNCTION.fullmatch(key):
        return "needs a function, which settings do not hold; remove it"
    if key.startswith("test."):
        return "is for librdkafka's own tests; remove it"
    return None
