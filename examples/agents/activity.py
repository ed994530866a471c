"""An agent of the `activity` dialect: it reads a folder's files and takes their checksums, and reports it.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/activity.py [FOLDER]

What it tells is metadata: which file, how many bytes, how long, whether it went well. Never what the file says.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wire import Wire, folder_of, fresh_id, say

AGENT = "librarian"
SUFFIXES = {".md", ".py", ".toml", ".sql"}
LEFT_OUT = {"node_modules", "__pycache__"}
PAUSE_S = 2.0
COMMAND_LIMIT_S = 20.0

Json = dict[str, Any]


def event(kind: str, tool: str, input_summary: str, **fields: Any) -> Json:
    """One event, as the dialect has it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    named = {"id": fresh_id(), "timestamp": now, "type": kind, "tool": tool, "input_summary": input_summary}
    return {**named, "output_summary": None, "duration_ms": None, "success": None, "metadata": {}, **fields}


def read_file(path: Path, name: str) -> Json:
    """Reads a file; the event about it."""
    begun = time.monotonic()
    size = len(path.read_bytes())
    duration_ms = int((time.monotonic() - begun) * 1000)
    return event("file_read", "filesystem", name, output_summary=f"{size} bytes", duration_ms=duration_ms, success=True)


def checksum(path: Path, name: str) -> Iterator[Json]:
    """Runs `cksum` on a file; the events about its start and its end, paired by an id."""
    pair = {"tool_call_id": fresh_id()}
    yield event("command_start", "shell", f"cksum {name}", metadata=pair)
    begun = time.monotonic()
    try:
        done = subprocess.run(["cksum", str(path)], capture_output=True, timeout=COMMAND_LIMIT_S, check=False)
        code, size = done.returncode, len(done.stdout)
    except OSError:
        code, size = 127, 0
    told = {
        "output_summary": f"exit {code}, {size} bytes",
        "duration_ms": int((time.monotonic() - begun) * 1000),
        "success": code == 0,
    }
    yield event("command_complete", "shell", f"cksum {name}", metadata=pair, **told)


def files_in(root: Path) -> Iterator[Path]:
    """Text files below a folder, hidden and generated ones left out."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix in SUFFIXES and not any(part in LEFT_OUT or part.startswith(".") for part in parts):
            yield path


def main() -> None:
    root = folder_of(__doc__)
    wire = Wire()
    agent_id = wire.post("/api/v1/agents", {"name": AGENT})["agent_id"]
    say(AGENT, f"reads {root.name}; see `towerlog agents events {AGENT}`")
    while True:
        for path in files_in(root):
            name = str(path.relative_to(root))
            events = [read_file(path, name), *checksum(path, name)]
            wire.post(f"/agents/{agent_id}/events", events)
            time.sleep(PAUSE_S)
        say(AGENT, "has read everything and begins again")


if __name__ == "__main__":
    main()
