"""The worked queries of `sql/analysis`."""

from collections.abc import Mapping
from dataclasses import dataclass

from etl.errors import WrongUsage
from etl.statements import VARIABLE, sql_names, sql_text


@dataclass(frozen=True, slots=True)
class Analysis:
    """A worked query: the question that it answers, and the variables that one may set."""

    name: str
    answers: str
    variables: tuple[str, ...]
    sql: str


def analyses() -> dict[str, Analysis]:
    """Return the worked queries by name."""
    found = {}
    for name in sql_names("analysis"):
        text = sql_text(name)
        comment = " ".join(line[3:] for line in text.splitlines() if line.startswith("-- "))
        short = name.removeprefix("analysis/")
        variables = tuple(dict(VARIABLE.findall(text)))
        found[short] = Analysis(short, comment, variables, text)
    return found


def analysis(name: str, variables: Mapping[str, str]) -> Analysis:
    """Return one worked query that has these variables.

    Raises
    ------
    WrongUsage
        There is no such query, or it has no such variable; the message names those that exist.
    """
    known = analyses()
    if name not in known:
        raise WrongUsage(f"there is no query {name}; there are {', '.join(known)}")
    for variable in variables:
        if variable not in known[name].variables:
            has = ", ".join(known[name].variables) or "none"
            raise WrongUsage(f"the query {name} has no parameter {variable}; it has: {has}")
    return known[name]
