"""An agent for `towerlog worker`: it counts the words of a folder's files, asks how to go on, and returns the sum.

    cd examples/agents
    COUNTER_FOLDER=../.. TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… towerlog worker --app worker:app

Claims, leases, cancels and reports are the worker's affair; what is here is the work. If its process is killed, another
worker goes on after the last file that was counted: `run.resume` is the latest checkpoint.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import towerlog

ROOT = Path(os.environ.get("COUNTER_FOLDER", ".")).resolve()
MAX_FILES = 6
PAUSE_S = 0.5

app = towerlog.App()


@app.agent("counter")
async def counter(run: towerlog.AsyncRun) -> dict[str, int]:
    """Counts what the run's input names: a folder or a file below the root."""
    files = await asyncio.to_thread(files_of, str(run.input or "."))
    counted: dict[str, int] = dict(run.resume["state"]["counted"]) if run.resume else {}
    for path in uncounted(files, counted)[: max(0, MAX_FILES - len(counted))]:
        counted[name_of(path)] = await count(run, path)
        run.checkpoint(history_of(counted), state={"counted": counted})
        await asyncio.sleep(PAUSE_S)
    left = uncounted(files, counted)
    if left and says_yes(await run.ask(f"There are {len(left)} more files. Count them too?")):
        for path in left:
            counted[name_of(path)] = await count(run, path)
    run.model_call("words-1", input_tokens=sum(counted.values()), output_tokens=1)
    return {"files": len(counted), "words": sum(counted.values())}


async def count(run: towerlog.AsyncRun, path: Path) -> int:
    """Counts one file's words as a call of a tool, and says so as the answer goes on."""
    with run.tool_call("count_words", arguments={"path": path.name}) as call:
        call.result = words = await asyncio.to_thread(words_in, path)
    run.message_delta(f"{path.name} has {words} words. ")
    return words


def uncounted(files: list[Path], counted: dict[str, int]) -> list[Path]:
    """What is left to do."""
    return [path for path in files if name_of(path) not in counted]


def name_of(path: Path) -> str:
    """A file's name below the root."""
    return path.relative_to(ROOT).as_posix()


def history_of(counted: dict[str, int]) -> list[dict[str, Any]]:
    """The conversation so far."""
    return [{"role": "assistant", "content": f"{name}: {words}"} for name, words in counted.items()]


def files_of(wanted: str) -> list[Path]:
    """The files that a run is about; what is not below the root is the root."""
    found = (ROOT / wanted).resolve()
    if not found.is_relative_to(ROOT) or not found.exists():
        found = ROOT
    return [found] if found.is_file() else sorted(path for path in found.iterdir() if path.is_file())


def words_in(path: Path) -> int:
    """How many words a file has."""
    return len(path.read_text(errors="replace").split())


def says_yes(answer: object) -> bool:
    """Whether a person agrees."""
    return str(answer).strip().lower().startswith("y")
