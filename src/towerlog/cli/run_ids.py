"""Runs by the beginning of their ids: every command that takes a run takes the short id of a table."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from towerlog.cli.connect import with_client
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client

ID_CHARS = 36
CUT = "…"
"""What a table ends a cell with that it has cut; whoever copies an id may copy it too."""
MAX_NAMED = 4
"""Candidates that an error names."""
_BEGINNING = re.compile(r"[0-9a-fA-F-]{1,36}")


def with_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `with_client`, with the argument RUN_ID behind it, given to the command as the whole id."""

    @wraps(command)
    def run(client: Client, run_id: str, **values: Any) -> Any:
        return command(client, full_run_id(client, run_id), **values)

    return with_client(click.argument("run_id")(run))


def full_run_id(client: Client, given: str) -> str:
    """The id of the one run whose id begins with this. Raises NotFound for none and for several."""
    given = given.removesuffix(CUT)
    if len(given) == ID_CHARS:
        return given
    found = client.find_runs(given) if _BEGINNING.fullmatch(given) and given.strip("-") else ()
    return only_one(given, found, "run")


def only_one(given: str, found: tuple[str, ...], kind: str) -> str:
    """The one id that was found by its beginning. Raises NotFound for none and for several."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(kind, f"There is no {kind} whose id begins with {given!r}.")
    named = ", ".join(found[:MAX_NAMED]) + (", …" if len(found) > MAX_NAMED else "")
    raise NotFound(kind, f"{given!r} is the beginning of more than one {kind} id: {named}. Give more of it.")
