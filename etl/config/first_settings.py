"""The first settings file: commented, complete, and ready for a drain."""

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from etl.errors import LakeNotWritable, WrongSettings

LSST_BROKER = "lasair-lsst-kafka.lsst.ac.uk:9092"
ZTF_BROKER = "kafka.lsst.ac.uk:9092"

# Hours between midnight UTC and about noon at the telescope: a night never spans two dates.
LSST_NIGHT_STARTS, ZTF_NIGHT_STARTS = 12, 20


@dataclass(frozen=True, slots=True)
class Start:
    """The choices in a first settings file; the rest of it is in first_settings.toml."""

    topics: Sequence[str]
    group_id: str
    bootstrap_servers: str
    lake: str
    night_starts: int = LSST_NIGHT_STARTS
    poll_timeout_s: int = 10
    connect_timeout_s: int = 30


def made_up_group() -> str:
    """Return a random group id, which nobody else has."""
    return f"lasair-etl-{secrets.token_hex(4)}"


def settings_text(start: Start) -> str:
    """Return the text of the settings file."""
    if start.topics:
        names = "".join(f"    {toml_text(topic)},\n" for topic in start.topics)
        topics = f"topics = [\n{names}]"
    else:
        topics = '# topics = ["lasair_2SN-likecandidates"]'
    template = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    own = {name: toml_text(value) for name, value in asdict(start).items()}
    return template.format(**own | {"lsst": LSST_BROKER, "ztf": ZTF_BROKER, "topics": topics})


def toml_text(value: object) -> str:
    r"""Write a text or a number as TOML.

    >>> print(toml_text('a "lake"\x7f'))
    "a \"lake\"\u007f"
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_settings(path: Path, start: Start) -> None:
    """Write the file, whole or not at all; over another one never: that is `WrongSettings`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as out:
            out.write(settings_text(start))
            out.flush()
            os.fsync(out.fileno())
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise WrongSettings(
            f"{path}: exists already and stays as it is; edit it, or name another with --config"
        ) from error
    except OSError as error:
        raise LakeNotWritable(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
