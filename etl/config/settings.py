"""The settings: read from flags, environment, TOML file and defaults, and checked.

Secrets come from the environment or from the file, never from a flag, and are never printed.
"""

import codecs
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from etl.arrival import Arrival, ClusterDecision
from etl.config.addresses import at_home, brokers, folder, text
from etl.config.topic_tables import topic_tables
from etl.config.topics import check_case, check_topic
from etl.errors import WrongSettings
from etl.librdkafka import DANGEROUS, MOST_NUMBER, key_complaint
from etl.schema.wishes import Wishes
from etl.text.words import close_match, cut, is_plain

CONFIG_NAME = "lasair-etl.toml"
ENVIRONMENT = "LASAIR_ETL_"
KAFKA_ENVIRONMENT = "LASAIR_ETL_KAFKA_"

# librdkafka counts milliseconds in 31 bits.
LONGEST_S = MOST_NUMBER // 1000
LONGEST_DAYS = 10 * 365
DAY_H = 24

# Up to here a floating-point number is exact.
MOST = 2**53
LONGEST_GROUP = 255
SHOWN = 100
DECISIONS = {"moved": Arrival.MOVED, "another": Arrival.ANOTHER}

# Group ids that Lasair's documents print: many people share them.
SAMPLE_GROUPS = {"test123", "test12", "test1234", "test", "mygroup", "my_group", "group"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run, blank where it can do without; paths are absolute."""

    bootstrap_servers: str = ""
    group_id: str = ""
    topics: tuple[str, ...] = ()
    lake: Path = Path()
    poll_timeout: timedelta = timedelta(seconds=10)
    connect_timeout: timedelta = timedelta(seconds=30)
    max_messages: int | None = None
    max_seconds: timedelta = timedelta(minutes=50)
    night_starts: timedelta = timedelta(hours=12)
    public_root: Path | None = None
    max_reject_percent: float = 10.0
    compact: bool = True
    keep_retired: timedelta = timedelta(days=7)
    topic: Mapping[str, Wishes] = field(default_factory=dict)
    cluster_changed: ClusterDecision | None = None
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _group(value: Any) -> str:
    if len(text(value)) > LONGEST_GROUP:
        raise ValueError(f"must have {LONGEST_GROUP} characters at most")
    return text(value)


def _topics(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be a list of topics, or text with commas")  # noqa: TRY004
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    if not names:
        raise ValueError("must name a topic")
    for name in names:
        check_topic(name)
    check_case(names)
    return tuple(dict.fromkeys(names))


def _number(value: Any, fits: Callable[[float], bool], meaning: str) -> float:
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (OverflowError, TypeError, ValueError):
        number = float("nan")
    if not fits(number):
        raise ValueError(f"must be {meaning}")
    return number


def _seconds(value: Any) -> timedelta:
    meaning = f"a number of seconds from 0 to {LONGEST_S}"
    return timedelta(seconds=_number(value, lambda seconds: 0 <= seconds <= LONGEST_S, meaning))


def _some_seconds(value: Any) -> timedelta:
    if not _seconds(value):
        raise ValueError(f"must be a number of seconds above 0, to {LONGEST_S}")
    return _seconds(value)


def _count(value: Any) -> int:
    meaning = f"a whole number from 1 to {MOST}"
    return int(_number(value, lambda n: 1 <= n <= MOST and n.is_integer(), meaning))


def _hours(value: Any) -> timedelta:
    meaning = "a number of hours, from 0 to below 24"
    return timedelta(hours=_number(value, lambda hours: 0 <= hours < DAY_H, meaning))


def _days(value: Any) -> timedelta:
    meaning = f"a number of days from 0 to {LONGEST_DAYS}"
    return timedelta(days=_number(value, lambda days: 0 <= days <= LONGEST_DAYS, meaning))


def _percent(value: Any) -> float:
    return _number(value, lambda percent: 0 <= percent / 100 <= 1, "a percentage, from 0 to 100")


def _decision(value: Any) -> ClusterDecision:
    word, _, cluster_id = text(value).partition(":")
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
    "bootstrap_servers": brokers,
    "group_id": _group,
    "topics": _topics,
    "lake": folder,
    "poll_timeout": _seconds,
    "connect_timeout": _some_seconds,
    "max_messages": _count,
    "max_seconds": _some_seconds,
    "night_starts": _hours,
    "public_root": folder,
    "max_reject_percent": _percent,
    "compact": _truth,
    "keep_retired": _days,
    "topic": topic_tables,
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
    is_named = bool(config or environment.get(f"{ENVIRONMENT}CONFIG"))
    if path and not is_named:
        _check_safe(path, kafka)
    from_environment, kafka_environment = _read_environment(environment)
    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    values: dict[str, Any] = {}
    sources = ((str(path), from_file), ("environment", from_environment), ("command line", given))
    for source, raw in sources:
        values.update({key: parse(source, key, value) for key, value in raw.items()})
    missing = [key for key in required if key not in values]
    if missing:
        hint = "lasair-etl init writes a settings file" if not path else f"add it to {path}"
        raise WrongSettings(f"missing setting: {', '.join(missing)}; {hint}")
    beside_file = "lake" not in given and "lake" not in from_environment
    values["lake"] = _absolute(values.get("lake", "."), path if beside_file else None)
    return Settings(**values, kafka=_check_kafka({**kafka, **kafka_environment}))


def _absolute(lake: str | Path, config: Path | None) -> Path:
    """Return the lake's path; one in a settings file is relative to it: cron starts in $HOME."""
    return (config.parent / lake if config is not None else Path(lake)).absolute()


def _config_path(config: Path | None, environment: Mapping[str, str]) -> Path | None:
    named = config or environment.get(f"{ENVIRONMENT}CONFIG")
    if named:
        try:
            return at_home(Path(named)).absolute()
        except ValueError as error:
            raise WrongSettings(f"--config {named}: {error}") from error
    here = Path(CONFIG_NAME)
    try:
        return here.absolute() if here.is_file() else None
    except PermissionError:  # this user may not look into the working directory
        return None


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        content = tomllib.loads(_file_text(path))
        kafka = content.pop("kafka", {})
        if not isinstance(kafka, dict):
            raise WrongSettings(f"{path}: kafka must be a table: [kafka]")
        return content, _flatten(kafka)
    except RecursionError as error:
        raise WrongSettings(f"{path}: not valid TOML: nested too deeply") from error
    except ValueError as error:
        raise WrongSettings(f"{path}: not valid TOML: {error}") from error


def _file_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WrongSettings(
            f"{path}: {error.strerror}; lasair-etl init writes a settings file"
        ) from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise WrongSettings(f"{path}: looks like UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise WrongSettings(
            f"{path}: not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from error


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


def parse(source: str, key: str, value: Any) -> Any:
    """Read the value of one setting.

    Raises
    ------
    WrongSettings
        There is no such setting, or the value is not one; the message names both.
    """
    if key not in PARSERS:
        close = close_match(key, PARSERS)
        hint = f"did you mean {close}?" if close else f"known: {', '.join(PARSERS)}"
        raise WrongSettings(f"{source}: unknown setting {key}; {hint}")
    try:
        return PARSERS[key](value)
    except (TypeError, ValueError) as error:
        raise WrongSettings(f"{source}: {key} = {_shown(value)}: {error}") from error


def _shown(value: Any) -> str:
    try:
        return cut(repr(value), SHOWN)
    except ValueError:  # Python refuses to write more than 4300 digits
        return "a very long number"


def _check_kafka(kafka: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in kafka.items():
        complaint = key_complaint(key) or _kafka_complaint(value)
        if complaint:
            raise WrongSettings(f"[kafka] {ascii(key)[1:-1]}: {complaint}")
    return {key: str(v).lower() if isinstance(v, bool) else v for key, v in kafka.items()}


def _kafka_complaint(value: Any) -> str | None:
    """Return why librdkafka could not read a value as it is meant; it may be secret."""
    if isinstance(value, str):
        return None if is_plain(value) else "must be UTF-8 text without NUL"
    if not isinstance(value, int):
        return f"must be text, a whole number, true or false, not a {type(value).__name__}"
    if abs(value) > MOST_NUMBER:
        return f"a number must be at most {MOST_NUMBER}; write text in quotes"
    return None


def _check_safe(path: Path, kafka: Mapping[str, Any]) -> None:
    """Refuse what a settings file may do only where the user has named the file."""
    dangerous = sorted(DANGEROUS & kafka.keys())
    if dangerous:
        raise WrongSettings(
            f"{path}: [kafka] {', '.join(dangerous)}: can run programs or send your files away, "
            f"and nobody named this file: it is in the working directory; if it is yours, name it: "
            f"--config {path}"
        )
