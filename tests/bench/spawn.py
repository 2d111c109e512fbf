"""Run one program from a small process, and say what it cost: seconds, CPU, peak memory.

The kernel hands the peak memory of whoever starts a program on to that program (`exec` keeps the
greater of the two), so this file is run by itself, with nothing imported that costs memory:

    python -I -S spawn.py OUT ERR PROGRAM [ARGUMENT ...]

prints the exit code (negative: a signal), wall seconds, CPU seconds and the peak in kilobytes.
"""

import os
import sys
import time

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def main() -> None:
    """Start the program, wait for it, print one line."""
    out, err, *command = sys.argv[1:]
    started = time.monotonic()
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, out, WRITE, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, err, WRITE, 0o600),
        ],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    # macOS counts bytes where Linux counts kilobytes.
    peak_kb = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    code = os.waitstatus_to_exitcode(status)
    print(code, seconds, usage.ru_utime + usage.ru_stime, peak_kb)


if __name__ == "__main__":
    main()
