"""The one place where configuration is read and checked: flag, environment, TOML file, default.

Secrets come from the environment or from the file, never from a flag, and are never printed.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from etl.config.topics import check_case, check_topic
from etl.errors import WrongSettings
from etl.librdkafka import REFUSED
from etl.text.words import close_match

CONFIG_NAME = "lasair-etl.toml"
ENVIRONMENT = "LASAIR_ETL_"
KAFKA_ENVIRONMENT = "LASAIR_ETL_KAFKA_"

# Group ids that Lasair's documents print: many people share them.
SAMPLE_GROUPS = {"test123", "test12", "test1234", "test", "mygroup", "my_group", "group"}


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a drain can be told; `lake` and `public_root` are absolute."""

    bootstrap_servers: str
    group_id: str
    topics: tuple[str, ...]
    lake: Path
    poll_timeout: timedelta = timedelta(seconds=10)
    connect_timeout: timedelta = timedelta(seconds=30)
    max_messages: int | None = None
    max_seconds: timedelta = timedelta(minutes=50)
    night_starts: timedelta = timedelta(hours=12)
    public_root: Path | None = None
    max_reject_percent: float = 10.0
    compact: bool = True
    keep_retired: timedelta = timedelta(days=7)
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value.strip()


def _topics(value: Any) -> tuple[str, ...]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    if not names:
        raise ValueError("must name a topic")
    for name in names:
        check_topic(name)
    check_case(names)
    return tuple(dict.fromkeys(names))


def _seconds(value: Any) -> timedelta:
    number = float(value)
    if isinstance(value, bool) or not 0 <= number <= 10 * 365 * 86400:
        raise ValueError("must be a number of seconds, 0 or more")
    return timedelta(seconds=number)


def _some_seconds(value: Any) -> timedelta:
    if _seconds(value) <= timedelta(0):
        raise ValueError("must be a number of seconds above 0")
    return _seconds(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value) or int(value) < 1:
        raise ValueError("must be a whole number, 1 or more")
    return int(value)


def _hours(value: Any) -> timedelta:
    hours = timedelta(hours=float(value))
    if isinstance(value, bool) or not timedelta(0) <= hours < timedelta(days=1):
        raise ValueError("must be a number of hours, from 0 to below 24")
    return hours


def _days(value: Any) -> timedelta:
    if isinstance(value, bool) or not 0 <= float(value) <= 10 * 365:
        raise ValueError("must be a number of days, 0 or more")
    return timedelta(days=float(value))


def _truth(value: Any) -> bool:
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise ValueError("must be true or false")
    return known[str(value).lower()]


def _percent(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= float(value) / 100 <= 1:
        raise ValueError("must be a percentage, from 0 to 100")
    return float(value)


# Every setting's name, and how its value is read; `Settings` has the defaults.
PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "bootstrap_servers": _text,
    "group_id": _text,
    "topics": _topics,
    "lake": lambda value: Path(_text(str(value))).expanduser(),
    "poll_timeout": _seconds,
    "connect_timeout": _some_seconds,
    "max_messages": _count,
    "max_seconds": _some_seconds,
    "night_starts": _hours,
    "public_root": lambda value: Path(_text(str(value))).expanduser(),
    "max_reject_percent": _percent,
    "compact": _truth,
    "keep_retired": _days,
}
REQUIRED = ("bootstrap_servers", "group_id", "topics", "lake")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
    required: tuple[str, ...] = REQUIRED,
) -> Settings:
    """Read the settings; a flag wins over the environment, that over the file, that over defaults.

    Parameters
    ----------
    flags : mapping
        What the command line gave; None or an empty sequence means not given.
    config : Path, optional
        The TOML file; without one, `lasair-etl.toml` in the working directory where it exists.

    Raises
    ------
    WrongSettings
        A missing or unreadable setting, named together with the nearest right name.
    """
    path = _config_path(config, environment)
    from_file, kafka = _read_file(path) if path else ({}, {})
    from_environment, kafka_environment = _read_environment(environment)
    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    values: dict[str, Any] = {}
    for source, raw in (
        (str(path), from_file),
        ("environment", from_environment),
        ("command line", given),
    ):
        values.update({key: _parse(source, key, value) for key, value in raw.items()})
    missing = [key for key in required if key not in values]
    if missing:
        hint = "lasair-etl init writes a settings file" if not path else f"add it to {path}"
        raise WrongSettings(f"missing setting: {', '.join(missing)}; {hint}")
    blanks: dict[str, Any] = {"bootstrap_servers": "", "group_id": "", "topics": (), "lake": "."}
    values = blanks | values
    beside_file = "lake" not in given and "lake" not in from_environment
    values["lake"] = _absolute(values["lake"], path if beside_file else None)
    return Settings(**values, kafka=_check_kafka({**kafka, **kafka_environment}))


def _absolute(lake: str | Path, config: Path | None) -> Path:
    """A relative lake in a settings file is relative to that file: cron starts in $HOME."""
    return (config.parent / lake if config is not None else Path(lake)).absolute()


def _config_path(config: Path | None, environment: Mapping[str, str]) -> Path | None:
    named = config or (
        Path(environment[f"{ENVIRONMENT}CONFIG"])
        if environment.get(f"{ENVIRONMENT}CONFIG")
        else None
    )
    if named is not None:
        return named.expanduser().absolute()
    here = Path(CONFIG_NAME)
    try:
        return here.absolute() if here.is_file() else None
    except PermissionError:  # a working directory that this user may not look into
        return None


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongSettings(
            f"{path}: {error.strerror}; lasair-etl init writes a settings file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"{path}: not valid TOML: {error}") from error
    kafka = content.pop("kafka", {})
    if not isinstance(kafka, dict):
        raise WrongSettings(f"{path}: kafka must be a table: [kafka]")
    return content, _flatten(kafka)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Take dotted keys of TOML as librdkafka's names, quoted or not."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    own, kafka = {}, {}
    for name, value in environment.items():
        if name.startswith(KAFKA_ENVIRONMENT):
            kafka[name.removeprefix(KAFKA_ENVIRONMENT).lower().replace("_", ".")] = value
        elif name.startswith(ENVIRONMENT) and name != f"{ENVIRONMENT}CONFIG":
            own[name.removeprefix(ENVIRONMENT).lower()] = value
    return own, kafka


def _parse(source: str, key: str, value: Any) -> Any:
    if key not in PARSERS:
        close = close_match(key, PARSERS)
        hint = f"did you mean {close}?" if close else f"known: {', '.join(PARSERS)}"
        raise WrongSettings(f"{source}: unknown setting {key}; {hint}")
    try:
        return PARSERS[key](value)
    except (TypeError, ValueError) as error:
        raise WrongSettings(f"{source}: {key} = {value!r}: {error}") from error


def _check_kafka(kafka: Mapping[str, Any]) -> dict[str, Any]:
    for key in kafka:
        if key in REFUSED:
            raise WrongSettings(f"[kafka] {key}: this program sets it itself; take the line out")
    return {key: str(v).lower() if isinstance(v, bool) else v for key, v in kafka.items()}
