"""The forms that a broker's address and a folder's path may have."""

import re
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path

from etl.text.words import is_plain

# A name, an IPv6 address (with a port: in brackets), and perhaps a port.
_BROKER = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::(?P<port>[0-9]{1,5}))?")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]|\{)")
_MOST_PORT = 65535


def text(value: object) -> str:
    """Return a text without the space around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    if not is_plain(value):
        raise ValueError("must be UTF-8 text without NUL")
    return value.strip()


def brokers(value: object) -> str:
    """Return the addresses of brokers as they are, where each is HOST:PORT or HOST."""
    given = text(value)
    named = [each.strip() for each in given.split(",") if each.strip()]
    if not named or not all(map(_is_broker, named)):
        raise ValueError(
            "must be HOST:PORT, or several with commas, without https:// or a user (a protocol is "
            "set by [kafka] security.protocol)"
        )
    return given


def _is_broker(address: str) -> bool:
    with suppress(ValueError):
        return bool(IPv6Address(address))
    found = _BROKER.fullmatch(address)
    return found is not None and 1 <= int(found["port"] or 1) <= _MOST_PORT


def folder(value: object) -> Path:
    """Return the path of a local folder; `~` is a home.

    What a shell or a library for clouds would read in another way is refused: a folder of that
    name would be made without a word. A link is the way out for who has such a folder.
    """
    given = text(str(value) if isinstance(value, Path) else value)
    scheme = _SCHEME.match(given)
    if scheme and scheme["scheme"].lower() == "file":
        raise ValueError("looks like an address; write the plain path, such as /data/lake")
    if scheme:
        raise ValueError(
            "looks like an address; it must be the path of a folder on a local disk (s3 and the "
            "like are not supported yet)"
        )
    if _VARIABLE.search(given):
        raise ValueError("looks like a shell's variable, which is not read here; write it out")
    return at_home(Path(given)) if given.startswith("~") else Path(given)


def at_home(path: Path) -> Path:
    """Return a path whose `~` or `~user` is written out."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{path.parts[0]} is nobody's home on this computer; write the path out: /home/..."
        ) from error
