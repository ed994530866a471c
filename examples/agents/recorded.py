"""An agent that reports with the SDK: it reads a folder's Python files and tells which functions are long.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/recorded.py [FOLDER]

Nobody hands out its work: it does what it does anyway, and `towerlog.record_run` tells of it. It can be answered and
cancelled all the same.
"""

from __future__ import annotations

import ast
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from wire import folder_of, say

import towerlog

AGENT = "reviewer"
LONG_LINES = 40
FILES_A_RUN = 8
PAUSE_S = 1.0
ASKS_FOR_S = 30.0
LEFT_OUT = {"node_modules", "__pycache__"}


def files_in(root: Path) -> Iterator[Path]:
    """Python files below a folder, hidden and generated ones left out."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not any(part in LEFT_OUT or part.startswith(".") for part in parts):
            yield path


def long_functions(path: Path) -> list[str]:
    """The functions of a file that are longer than they should be."""
    tree = ast.parse(path.read_text(errors="replace"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno >= LONG_LINES]


def review(run: towerlog.Run, path: Path, root: Path) -> list[str]:
    """Reads one file; the names of its long functions."""
    name = str(path.relative_to(root))
    with run.step("review", {"file": name}), run.tool_call("parse", arguments={"path": name}) as call:
        call.result = found = long_functions(path)
    run.message_delta(f"{name}: {', '.join(found) or 'nothing to say'}. ")
    return found


def review_some(files: list[Path], root: Path) -> None:
    """One run: a few files, a checkpoint after each, and a question at the end."""
    with towerlog.record_run(agent=AGENT, thread="reviews", input=[path.name for path in files]) as run:
        say(AGENT, f"begins {run.run_key}")
        found: dict[str, list[str]] = {}
        history = []
        for path in files:
            run.check()
            found[path.name] = review(run, path, root)
            history.append({"role": "assistant", "content": f"{path.name}: {len(found[path.name])}"})
            run.checkpoint(history, state={"reviewed": len(found)})
            time.sleep(PAUSE_S)
        run.result = {"files": len(found), "long": sum(map(len, found.values())), "kept": is_wanted(run)}
        say(AGENT, f"ends {run.run_key}: {run.result['long']} long functions in {len(found)} files")


def is_wanted(run: towerlog.Run) -> bool:
    """Whether a person wants the review kept; after half a minute without an answer it is."""
    try:
        return str(run.ask("Shall I keep this review?", timeout=ASKS_FOR_S)).strip().lower().startswith("y")
    except TimeoutError:
        return True


def main() -> None:
    root = folder_of(__doc__)
    # SIGTERM ends a run as cancelled, and the rest is delivered as the program ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            review_all(root)


def review_all(root: Path) -> None:
    """A few files a run, and a pause after each."""
    files = list(files_in(root))
    for begin in range(0, len(files), FILES_A_RUN):
        try:
            review_some(files[begin : begin + FILES_A_RUN], root)
        except towerlog.RunCancelled:
            say(AGENT, "was cancelled, and goes on with the next files")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
