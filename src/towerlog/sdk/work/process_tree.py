"""A process with all that it has started: found, and sent signals.

A process group would not do. A group of its own takes a command from the terminal that it reads, and from whoever kills
the group of `towerlog exec`; the group of `towerlog exec` may have its caller in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

PROC = Path("/proc")
MAX_PASSES = 5
"""So often the processes are looked through for such as were started meanwhile."""
PS_S = 5.0
"""How long `ps` may take."""

Processes = dict[int, str]
"""Process id → what tells it from another that has the same id later: when it began."""


def tree_of(process_id: int) -> Processes:
    """The process and all below it; empty if it is not there."""
    known = _processes()
    found: Processes = {}
    fresh = {process_id} & known.keys()
    while fresh:
        found |= {one: known[one][1] for one in fresh}
        fresh = {one for one, (parent, _) in known.items() if parent in fresh} - found.keys()
    return found


def living(processes: Processes) -> Processes:
    """Processes that have not ended."""
    known = _processes()
    return {one: began for one, began in processes.items() if known.get(one, (0, ""))[1] == began}


def send(number: signal.Signals, process_id: int, beside: Processes) -> Processes:
    """Sends a signal to a process and all below it, and to what is alive of others; whom it was sent to."""
    told: Processes = {}
    for _ in range(MAX_PASSES):
        fresh = {one: began for one, began in {**living(beside), **tree_of(process_id)}.items() if one not in told}
        if not fresh:
            break
        told |= fresh
        send_each(number, fresh)
    return told


def send_each(number: signal.Signals, processes: Processes) -> None:
    """Sends a signal to these alone; what is gone, or belongs to somebody else, does not get it."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, number)


def _processes() -> dict[int, tuple[int, str]]:
    """Process id → its parent's, and when it began. Those that have ended are not among them, unless it takes `ps`."""
    if not (PROC / "self" / "stat").exists():
        return _by_ps()
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The name of the program, in brackets, may have any characters.
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[int(folder.name)] = (int(fields[1]), fields[19])
    return found


def _by_ps() -> dict[int, tuple[int, str]]:
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        told = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,lstart="], capture_output=True, text=True, timeout=PS_S)
        rows = (line.split(None, 2) for line in told.stdout.splitlines() if len(line.split(None, 2)) == 3)
        return {int(one): (int(parent), began) for one, parent, began in rows}
    return {}
