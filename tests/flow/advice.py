"""Following what a refusal advises, to the letter: what users do, and what has to work."""

import re
import subprocess

COMMAND = re.compile(r"cd (?:'[^']*'|\S+) && rm -f \S+ && cp \S+ \S+")


def follow(said: str) -> None:
    """Run the command that the message names as the way out."""
    found = COMMAND.search(said)
    assert found, f"no way out is named: {said}"
    subprocess.run(["sh", "-c", found.group()], check=True)


def decision(said: str, word: str) -> str:
    """Return the decision on another cluster that the message offers under this word."""
    found = re.search(rf"--cluster-changed '?({word}:[\w-]+)", said)
    assert found, f"no such decision is offered: {said}"
    return found.group(1)
