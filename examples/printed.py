"""What the demo prints: commands to type, each with what it is for, in lines that fit into a terminal."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = max(72, min(shutil.get_terminal_size((80, 24)).columns, 120))
TOWERLOG = str(Path(sys.executable).with_name("towerlog"))

Json = dict[str, Any]
LAST = "The agents' log goes on below. Ctrl-C ends everything."
"""The demo is ready once it has said this."""


def where_to_look(url: str, key: str, folder: Path, runs: dict[str, Json], waiting: tuple[str, str, str]) -> list[str]:
    """What to type in another terminal: the variables first, then commands that work as they stand.

    `runs`: some run by what it was begun through; `waiting`: an approval, and two runs that ask something.
    """
    variables = {
        "TOWERLOG_URL": url,
        "TOWERLOG_API_KEY": key,
        "TOWERLOG_DATA_DIR": str(folder.resolve()),
        "PATH": f'"{Path(TOWERLOG).parent}:$PATH"',
    }
    sections = {
        "Look around": looks(runs),
        "What waits for you": asks(*waiting),
        "Do something": orders(),
    }
    return [
        "",
        f"Towerlog listens on {url}",
        "Its dashboard: `towerlog open`, once the lines below are copied.",
        f"Its API is described at {url}/docs",
        "",
        "In another terminal, copy this first:",
        "",
        *(f"  export {name}={value}" for name, value in variables.items()),
        *(line for title, lines in sections.items() for line in section(title, lines)),
        "",
        LAST,
        "",
    ]


def section(title: str, lines: dict[str, str]) -> Iterator[str]:
    """Commands, each with what it is for."""
    yield from ("", f"{title}:")
    for what, command in lines.items():
        yield ""
        yield from (f"  # {line}" for line in textwrap.wrap(what, COLUMNS - 4))
        yield from (f"  {line}" for line in broken(command))


def broken(command: str) -> list[str]:
    """A command in lines that fit into a terminal, an option with its value; a shell takes them as one."""
    parts: list[str] = []
    for word in shlex.split(command, posix=False):
        if parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) > COLUMNS - 5:
            lines[-1] += " \\"
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return lines


CURL = """curl -sS -H "Authorization: Bearer $TOWERLOG_API_KEY\""""
SEND = f"{CURL} -H 'Content-Type: application/json'"


def asks(approval_id: str, to_answer: str, to_cancel: str) -> dict[str, str]:
    """Title → command, of what agents ask a person."""
    return {
        "all that waits for a person": "towerlog approvals ls",
        "an agent wants to publish a page: approve it (or: deny)": f"towerlog approvals approve {approval_id}",
        "the webhooks that have told of it; their answer_url is a page to answer on": (
            'tail -n 3 "$TOWERLOG_DATA_DIR/messages"'
        ),
        "watch a run that waits for an answer, up to its end": f"towerlog runs tail {to_answer}",
        "answer it, in a third terminal": f"towerlog runs answer {to_answer} yes",
        "cancel another one": f"towerlog runs cancel {to_cancel} --reason 'not needed'",
    }


def looks(runs: dict[str, Json]) -> dict[str, str]:
    """Title → command, of those that only read."""
    survey, counted = runs["checkpoints"], runs["runs"]
    resumed = f"/v1/runners/threads/{survey['thread_id']}/latest"
    return {
        "the dashboard in a browser, signed in": "towerlog open",
        "the newest runs of all agents": "towerlog runs ls --limit 5",
        "the agents, and what they have spent": "towerlog agents ls",
        "one run live; Ctrl-C stops watching": f"towerlog runs tail {survey['run_id']}",
        "one agent live, without the content of its events": "towerlog agents events inspector --follow",
        "everything about a run": f"towerlog runs show {counted['run_id']}",
        "which worker holds which runs, and what is queued": "towerlog workers; towerlog queue",
        "tokens and cost by agent": "towerlog usage",
        "the budget, which warns at 0.02 % of its dollar": "towerlog budgets",
        "the rule that watches for unanswered agents": "towerlog alerts rules",
        "who has changed what": "towerlog audit --limit 5",
        "the newest runs over HTTP": f'{CURL} "$TOWERLOG_URL/v1/runs?limit=5"',
        "the state from which a thread would resume, over HTTP": f'{CURL} "$TOWERLOG_URL{resumed}"',
    }


def orders() -> dict[str, str]:
    """Title → command, of those by which something is done."""
    return {
        "create a run; a worker claims it at once": (
            "towerlog runs create mine --agent counter --input README.md --id"
        ),
        "report a run of your own over HTTP": (
            f'{SEND} "$TOWERLOG_URL/api/ingest"'
            ' -d \'{"event_type": "run_start", "sdk_run_id": "mine", "payload": {}}\''
        ),
    }
