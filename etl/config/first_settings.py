"""The first settings file: commented, complete, and ready for a drain."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etl.errors import LakeNotWritable, WrongSettings

LSST_BROKER = "lasair-lsst-kafka.lsst.ac.uk:9092"
ZTF_BROKER = "kafka.lsst.ac.uk:9092"

# Hours of UTC near noon at the telescope: no night has one date before them and another after.
LSST_NIGHT_STARTS, ZTF_NIGHT_STARTS = 12, 20
TEMPLATE = """\
# Settings of lasair-etl. Flags and the environment (LASAIR_ETL_LAKE=...) win over this file.

# Lasair's broker: {lsst} (Rubin), {ztf} (ZTF).
bootstrap_servers = {broker}

# Your consumer group: unique to you, and always the same. It must not change: with another one,
# lag monitors lose sight of you, and a new lake would not know how far you have read.
group_id = {group_id}

# One topic for each of your filters, as Lasair's page of the filter names it.
{topics}

# The folder that holds everything; a relative one is relative to this file.
lake = {lake}

# Stop when no alert has arrived for so many seconds (0: at the end of the stream), and when the
# broker leaves a question unanswered for so long.
poll_timeout = 10
connect_timeout = 30

# Stop after so many seconds even if the stream does not fall silent: below cron's hour.
max_seconds = 3000
# max_messages = 1000000

# A night's date is the date of kafka_timestamp minus so many hours, in UTC: 12 for Rubin (as its
# day_obs), 20 for ZTF (noon at Palomar). Choose before the first drain.
night_starts = {night_starts}

# Exit with 65 when more messages than this, in percent, can't be decoded.
max_reject_percent = 10

# After a drain, make few large files of the many small ones of nights that are over. The small ones
# are kept for so many days: no notebook should stay open for longer without attaching anew.
compact = true
keep_retired = 7

# Where readers see the lake, if not under its own path: another mount of the same folder.
# public_root = "/mnt/alerts"

# Any other setting of librdkafka. Lasair's brokers need none. Passwords are better kept in the
# environment: LASAIR_ETL_KAFKA_SASL_PASSWORD=...
[kafka]
# "security.protocol" = "sasl_ssl"
# "sasl.mechanism" = "SCRAM-SHA-512"
# "sasl.username" = "me"
"""


@dataclass(frozen=True, slots=True)
class Start:
    """What a first settings file is made of; `filters` are those that `topics` come from."""

    topics: Sequence[str]
    group_id: str
    bootstrap_servers: str
    lake: str
    night_starts: int = LSST_NIGHT_STARTS


def made_up_group() -> str:
    """Make up a group id that nobody else has."""
    return f"lasair-etl-{secrets.token_hex(4)}"


def settings_text(start: Start) -> str:
    """Write the settings file."""
    if start.topics:
        names = "".join(f"    {toml_text(topic)},\n" for topic in start.topics)
        topics = f"topics = [\n{names}]"
    else:
        topics = '# topics = ["lasair_2SN-likecandidates"]'
    return TEMPLATE.format(
        lsst=LSST_BROKER,
        ztf=ZTF_BROKER,
        broker=toml_text(start.bootstrap_servers),
        group_id=toml_text(start.group_id),
        topics=topics,
        lake=toml_text(start.lake),
        night_starts=start.night_starts,
    )


def toml_text(text: str) -> str:
    r"""Write any text as a TOML string.

    >>> print(toml_text('a "lake"\x7f'))
    "a \"lake\"\u007f"
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_settings(path: Path, start: Start) -> None:
    """Write the file, never over another one.

    Raises
    ------
    WrongSettings
        There is a file of this name already.
    """
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(settings_text(start))
    except FileExistsError as error:
        raise WrongSettings(
            f"{path}: is there already and stays as it is; edit it, or name another with --config"
        ) from error
    except OSError as error:
        raise LakeNotWritable(f"{path}: {error.strerror or error}") from error
