"""Made-up messages: objects spelt in every way that JSON allows, alike or not, whole or broken."""

import json
from typing import Any

from hypothesis import strategies as st

NAMES = [
    "mag",
    "ra",
    "RA",
    "candid",
    "diaObjectId",
    "UTC",
    "utc",
    "s",
    "l",
    "a.b",
    'q"uote',
    "new\nline",
    "é",
    "select",
    "rowid",
    "filename",
    "",
    "night",
    "kafka_offset",
    "etl_rescued",
]
NUMBERS = [
    "0",
    "-0",
    "5",
    "5.0",
    "5.5",
    "-0.0",
    "1e5",
    "1E+2",
    "1e-400",
    "5e-324",
    "0.1",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "313637935709683761",
    "313637935709683776",
]
NUMBERS += [
    str(sign * (2**power + more)) for sign in (1, -1) for power in (53, 63) for more in (-1, 0, 1)
]
TIMES = [
    "2026-02-14 13:41:02",
    "2026-02-14 13:41:02.5",
    "2026-02-14T13:41:02",
    "2026-02-14",
    "2026-02-30 13:41:02",
    "0000-01-01 00:00:00",
]

names = st.sampled_from(NAMES) | st.text(max_size=3)
texts = st.sampled_from(["", "NaN", "-NaN", "Infinity", "x}\n{", "\0", "é", "😀", *TIMES])
numbers = st.sampled_from(NUMBERS) | st.integers().map(str) | st.floats().map(json.dumps)
scalars = (
    numbers
    | (texts | st.text(max_size=5)).map(json.dumps)
    | st.sampled_from(["null", "true", "false"])
)
blanks = st.sampled_from(["", "", "", " ", "\n", "\r\n\t"])


@st.composite
def spelt_object(draw: Any, inner: st.SearchStrategy[str]) -> str:
    """Spell an object, sometimes with a key twice, escaped characters or blanks around a value."""
    members = draw(st.lists(st.tuples(names, inner), max_size=5))
    ascii_only = draw(st.booleans())
    blank = draw(blanks)
    spelt = ",".join(
        f"{blank}{json.dumps(name, ensure_ascii=ascii_only)}:{blank}{value}"
        for name, value in members
    )
    return f"{{{spelt}{blank}}}"


def spelt_list(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Spell a list."""
    return st.lists(inner, max_size=4).map(lambda values: f"[{', '.join(values)}]")


values = st.recursive(scalars, lambda inner: spelt_object(inner) | spelt_list(inner), max_leaves=8)

objects = spelt_object(values).map(str.encode)


@st.composite
def like_each_other(draw: Any) -> list[bytes]:
    """Make messages that mostly have the same fields with the same types, as a stream has."""
    kinds = {
        "number": st.sampled_from(NUMBERS[:12]) | st.floats().map(json.dumps),
        "integer": st.integers(-(2**63), 2**63 - 1).map(str),
        "text": st.text(max_size=5).map(json.dumps),
        "truth": st.sampled_from(["true", "false"]),
        "numbers": spelt_list(st.floats().map(json.dumps) | st.just("null")),
        "objects": spelt_list(spelt_object(st.sampled_from(NUMBERS[:12])) | st.just("null")),
        "anything": values,
    }
    fields = draw(st.dictionaries(names, st.sampled_from(sorted(kinds)), min_size=1, max_size=4))
    member = {name: kinds[kind] | st.just("null") for name, kind in fields.items()}
    messages = []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 9)) == 0:
            messages.append(draw(objects | broken))
            continue
        chosen = [name for name in member if draw(st.integers(0, 9))]
        inner = ", ".join(f"{json.dumps(name)}: {draw(member[name])}" for name in chosen)
        messages.append(f"{{{inner}}}".encode())
    return messages


BROKEN = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"5",
    b'{"mag": 5.5',
    b'{"mag": 5.5}}',
    b'{"mag": 5.5}{"mag": 5.5}',
    b'{"mag": 5.5}null{}',
    b'{"mag": Inf}',
    b'{"mag": -NaN}',
    b'{"mag": 05}',
    b'{"mag": .5}',
    b'{"mag": +5}',
    b'{"mag": 5.}',
    b'{"mag": "\xff"}',
    b'{"mag": "\\ud800"}',
    b'{"mag": "\\udc00"}',
    b'{"mag": "\xed\xa0\x80"}',
    b'{"mag": "a\nb"}',
    b'{"mag": "\\x41"}',
    b'{"mag": 5.5,}',
    b'\x0c{"mag": 5.5}',
    b'{"mag": 5.5}\0',
    b'{"mag": 5.5}{"mag": 5.5}\0}',
    b'\xef\xbb\xbf{"mag": 5.5}',
    b'\xef\xbb\xbf\xef\xbb\xbf{"mag": 5.5}',
    b'{"mag": \xef\xbb\xbf5.5}',
    b'{"mag": "',
    b'"}',
]


@st.composite
def broken_from(draw: Any, seeds: st.SearchStrategy[bytes]) -> bytes:
    """Break a message: cut it, flip a byte, splice another one in."""
    message = draw(seeds)
    at = draw(st.integers(0, len(message)))
    to = draw(st.integers(at, min(len(message), at + 3)))
    other = draw(seeds | st.sampled_from(BROKEN))
    middle = draw(
        st.sampled_from([b"", b"\0", b"\n", b"}", b"{", b'"', b"\\", b"N", b"e", b"-", b",", b"0"])
        | st.binary(max_size=2)
        | st.just(other)
    )
    made: bytes = draw(st.sampled_from([message[:at] + middle + message[to:], message[:at], other]))
    return made


broken = st.sampled_from(BROKEN) | broken_from(objects)
messages = st.lists(objects, min_size=1, max_size=10) | like_each_other()
