"""The settings: read from flags, environment, TOML file and defaults, and checked.

Secrets come from the environment or from the file, never from a flag, and are never printed.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from etl.arrival import Arrival, ClusterDecision
from etl.config.topics import check_case, check_topic
from etl.errors import WrongSettings
from etl.librdkafka import REFUSED
from etl.text.words import close_match

CONFIG_NAME = "lasair-etl.toml"
ENVIRONMENT = "LASAIR_ETL_"
KAFKA_ENVIRONMENT = "LASAIR_ETL_KAFKA_"

# Group ids that Lasair's documents print: many people share them.
LONGEST_S = 10 * 365 * 86400
DAY_H = 24
DECISIONS = {"moved": Arrival.MOVED, "another": Arrival.ANOTHER}
SAMPLE_GROUPS = {"test123", "test12", "test1234", "test", "mygroup", "my_group", "group"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a drain; `lake` and `public_root` are absolute."""

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
    cluster_changed: ClusterDecision | None = None
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def _topics(value: Any) -> tuple[str, ...]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    if not names:
        raise ValueError("must name a topic")
    for name in names:
        check_topic(name)
    check_case(names)
    return tuple(dict.fromkeys(names))


def _number(value: Any, fits: Callable[[float], bool], meaning: str) -> float:
    if isinstance(value, bool) or not fits(float(value)):
        raise ValueError(f"must be {meaning}")
    return float(value)


def _seconds(value: Any) -> timedelta:
    meaning = "a number of seconds, 0 or more"
    return timedelta(seconds=_number(value, lambda seconds: 0 <= seconds <= LONGEST_S, meaning))


def _some_seconds(value: Any) -> timedelta:
    if not _seconds(value):
        raise ValueError("must be a number of seconds above 0")
    return _seconds(value)


def _count(value: Any) -> int:
    meaning = "a whole number, 1 or more"
    return int(_number(value, lambda number: number >= 1 and number.is_integer(), meaning))


def _hours(value: Any) -> timedelta:
    meaning = "a number of hours, from 0 to below 24"
    return timedelta(hours=_number(value, lambda hours: 0 <= hours < DAY_H, meaning))


def _days(value: Any) -> timedelta:
    meaning = "a number of days, 0 or more"
    return timedelta(days=_number(value, lambda days: 0 <= days <= LONGEST_S / 86400, meaning))


def _percent(value: Any) -> float:
    return _number(value, lambda percent: 0 <= percent / 100 <= 1, "a percentage, from 0 to 100")


def _decision(value: Any) -> ClusterDecision:
    word, _, cluster_id = _text(value).partition(":")
    if word not in DECISIONS or not cluster_id:
        raise ValueError("must be moved:ID or another:ID, with the id of the new cluster")
    return ClusterDecision(DECISIONS[word], cluster_id)


def _truth(value: Any) -> bool:
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise ValueError("must be true or false")
    return known[str(value).lower()]


# How the value of each setting is read; `Settings` has the defaults.
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
    "cluster_changed": _decision,
}
REQUIRED = ("bootstrap_servers", "group_id", "topics", "lake")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
    required: tuple[str, ...] = REQUIRED,
) -> Settings:
    """Read the settings: flags win over the environment, it over the file, the file over defaults.

    Parameters
    ----------
    flags : mapping
        Values from the command line; None and () stand for flags that were not given.
    config : Path, optional
        The TOML file; by default `lasair-etl.toml` in the working directory, if it exists.

    Raises
    ------
    WrongSettings
        A setting is missing, unknown or invalid; the message names it.
    """
    path = _config_path(config, environment)
    from_file, kafka = _read_file(path) if path else ({}, {})
    from_environment, kafka_environment = _read_environment(environment)
    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    values: dict[str, Any] = {}
    sources = ((str(path), from_file), ("environment", from_environment), ("command line", given))
    for source, raw in sources:
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
    """Return the lake's path; one in a settings file is relative to it: cron starts in $HOME."""
    return (config.parent / lake if config is not None else Path(lake)).absolute()


def _config_path(config: Path | None, environment: Mapping[str, str]) -> Path | None:
    named = config or environment.get(f"{ENVIRONMENT}CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    here = Path(CONFIG_NAME)
    try:
        return here.absolute() if here.is_file() else None
    except PermissionError:  # this user may not look into the working directory
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
    """Join the dotted keys of TOML into librdkafka's names, quoted or not."""
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
    except (OverflowError, TypeError, ValueError) as error:
        raise WrongSettings(f"{source}: {key} = {value!r}: {error}") from error


def _check_kafka(kafka: Mapping[str, Any]) -> dict[str, Any]:
    for key in kafka:
        if key in REFUSED:
            raise WrongSettings(f"[kafka] {key}: lasair-etl sets this itself; remove it")
    return {key: str(v).lower() if isinstance(v, bool) else v for key, v in kafka.items()}
