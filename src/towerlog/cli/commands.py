"""The commands by name: where each is, what it says of itself, and which packages it needs.

`towerlog --help` shows this table alone; a command's module is imported when the command is called. Needs nothing but
the standard library, so that it can name what is missing.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

CLI, SERVER = "cli", "server"
"""The extras of the package: what commands that ask a server need, and what those that open the store need."""


class Command(NamedTuple):
    """A command of the table."""

    module: str
    attribute: str
    extra: str
    help: str
    """The first sentence of its own help."""


COMMANDS: dict[str, Command] = {
    "agents": Command("fleet", "agents", CLI, "Agents: list them, and their events."),
    "alerts": Command(
        "alerts",
        "alerts",
        CLI,
        "Alerts: list them, set rules, and resend their messages.",
    ),
    "approvals": Command(
        "approvals", "approvals", CLI, "What waits for a person: list, show, approve, deny and answer it."
    ),
    "audit": Command("audit", "audit", CLI, "Shows who has changed what, when and from where, newest first."),
    "backup": Command("maintenance", "backup", SERVER, "Writes a copy of the store to FILE, which must not exist."),
    "budgets": Command("budgets", "budgets", CLI, "Budgets: list, set and remove them."),
    "doctor": Command("doctor", "doctor", SERVER, "Checks settings, store, disk, durability, clock and server."),
    "exec": Command(
        "worker",
        "execute",
        CLI,
        "Runs a command and reports it as a run.",
    ),
    "export": Command(
        "export",
        "export",
        CLI,
        "Writes the events of one run or of many, or the runs themselves, as lines of JSON or as CSV.",
    ),
    "import": Command(
        "imports",
        "import_files",
        CLI,
        "Imports sessions of Claude Code and Codex, exports of Langfuse and LangSmith, and spans of OTLP, as runs.",
    ),
    "keys": Command("admin", "keys", SERVER, "API keys: create, list and revoke them."),
    "links": Command("links", "links", CLI, "Sign-in links: list and revoke them."),
    "members": Command("members", "members", CLI, "Members: list, add, change and remove them."),
    "migrate": Command("migrate", "migrate", SERVER, "Moves the store in the data folder into a PostgreSQL database."),
    "open": Command("sign_in", "open_dashboard", SERVER, "Opens the dashboard of the local server, signed in."),
    "orgs": Command("admin", "orgs", SERVER, "Organisations: create, list and remove them."),
    "prices": Command("prices", "prices", CLI, "Your own prices, and those that come with the server."),
    "rebuild": Command(
        "maintenance",
        "rebuild",
        SERVER,
        "Rebuilds the projections from the log: runs, threads, agents, usage, checkpoints.",
    ),
    "queue": Command("work", "queue", CLI, "The queue: runs that wait for a worker, and runs that a worker holds."),
    "reprice": Command("prices", "reprice", CLI, "Computes costs again, at today's prices."),
    "restore": Command(
        "maintenance",
        "restore",
        SERVER,
        "Replaces the store in the data folder with the backup FILE.",
    ),
    "retention": Command(
        "retention",
        "retention",
        CLI,
        "How long content is kept: list, set and clear it, and erase a run or a thread.",
    ),
    "runs": Command("runs", "runs", CLI, "Runs: list, show, watch, create, answer, cancel, and run again."),
    "serve": Command("serve", "serve", SERVER, "Runs the server until SIGTERM or Ctrl-C."),
    "sessions": Command("sessions", "sessions", CLI, "Sessions of members: list and end them."),
    "spool": Command("spool", "spool", CLI, "Undelivered events on this machine: list, send or delete them."),
    "threads": Command("fleet", "threads", CLI, "Threads: list them."),
    "usage": Command("work", "usage", CLI, "Shows runs, tokens and cost by agent, model or hour."),
    "verify": Command("maintenance", "verify", SERVER, "Checks the log and compares the projections with it."),
    "worker": Command(
        "worker",
        "worker",
        CLI,
        "Claims runs and calls the agents of an App for them, until SIGTERM or Ctrl-C.",
    ),
    "workers": Command("work", "workers", CLI, "Workers: list them, with the runs that they hold."),
}


class NotInstalled(Exception):
    """A command needs packages of an extra that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        """`what` needs the extra."""
        super().__init__(f"{what} needs packages that are not installed: pip install '.[{extra}]' in a checkout")


def load(module: str, extra: str, what: str) -> ModuleType:
    """A module of `towerlog.cli`. Raises NotInstalled where a package of the extra is missing."""
    try:
        return importlib.import_module(f"towerlog.cli.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "towerlog":
            raise
        raise NotInstalled(what, extra) from None


def without_click(arguments: list[str]) -> NotInstalled:
    """What to say where there is not even a command line: the extra of the command that was asked for."""
    asked = next((argument for argument in arguments if argument in COMMANDS), None)
    if asked is None:
        return NotInstalled("the command line", CLI)
    return NotInstalled(f"`towerlog {asked}`", COMMANDS[asked].extra)
