"""An application of the `runs` dialect: it creates runs, follows each as it goes on, and answers when it is asked.

    TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=… python examples/agents/runs.py [FOLDER]

Who does the work does not matter to it: `towerlog worker` (`worker.py`) claims one half of what it creates, a worker
that speaks the wire itself (`lanes.py`) the other.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from wire import Refused, Wire, folder_of, say

NAME = "application"
AGENTS = {"counter": "count the words", "weigher": "weigh the files"}
PAUSE_S = 4.0
THINKS_FOR_S = 8.0


def folders_of(root: Path) -> list[str]:
    """What there is to ask about: the folders right below, and the folder itself."""
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [".", *found]


def follow(wire: Wire, run_id: str) -> str:
    """Follows a run to its end, and answers its questions; the type of its last event."""
    last = ""
    for event in wire.follow(f"/v1/runs/{run_id}/events"):
        last = event["type"]
        if last == "run.waiting_for_input":
            say(NAME, f"is asked: {event['data'].get('question')}")
            answer(wire, run_id)
    return last


def answer(wire: Wire, run_id: str) -> None:
    """Says yes, unless somebody else has answered within a few seconds."""
    time.sleep(THINKS_FOR_S)
    if wire.get(f"/v1/runs/{run_id}")["status"] != "waiting_for_input":
        say(NAME, "sees that somebody else has answered")
        return
    try:
        wire.post(f"/v1/runs/{run_id}/input", {"content": "yes"})
    except Refused as refused:
        say(NAME, f"was late with its answer: {refused}")


def main() -> None:
    root = folder_of(__doc__)
    wire = Wire()
    for agent in AGENTS:
        # What an earlier process has left there waits for an answer that nobody would give.
        wire.post("/v1/threads", {"thread_id": f"for-the-{agent}", "policy": "cancel_previous"})
    for folder, agent in itertools.cycle(itertools.product(folders_of(root), AGENTS)):
        created = wire.post(f"/v1/threads/for-the-{agent}/runs", {"agent": agent, "input": folder})
        say(NAME, f"creates {created['run_id']}: {AGENTS[agent]} in {folder}")
        say(NAME, f"sees {follow(wire, created['run_id'])}")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
