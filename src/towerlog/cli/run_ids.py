"""Runs by short ids, and what has a name by that: every command that takes a run takes the beginning of its id, or the
end.

Tables of commands show the beginning; the dashboard and logs show the end, which tells runs of one minute apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from itertools import islice
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
MAX_LOOKED_AT = 200
"""Runs with these characters somewhere in an id, of which the ends are looked at."""
_PART = re.compile(r"[0-9a-fA-F-]{1,36}")


def with_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `with_client`, with the argument RUN_ID behind it, given to the command as the whole id."""

    @wraps(command)
    def run(client: Client, run_id: str, **values: Any) -> Any:
        return command(client, full_run_id(client, run_id), **values)

    return with_client(click.argument("run_id")(run))


def full_run_id(client: Client, given: str) -> str:
    """The id of the one run whose id begins with this, else of the one whose ends so. Raises NotFound otherwise."""
    given = given.removesuffix(CUT)
    if len(given) == ID_CHARS:
        return given
    if not _PART.fullmatch(given) or not given.strip("-"):
        return only_one(given, (), "run", "begins or ends")
    found = client.find_runs(given) or _ending_with(client, given.lower())
    return only_one(given, found, "run", "begins or ends")


def _ending_with(client: Client, end: str) -> tuple[str, ...]:
    looked_at = islice(client.list_run_rows(q=end), MAX_LOOKED_AT)
    return tuple(row.run_id for row in looked_at if row.run_id.endswith(end))


def only_one(given: str, found: tuple[str, ...], kind: str, part: str = "begins") -> str:
    """The one id that was found by a part of it. Raises NotFound for none and for several."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(kind, f"There is no {kind} whose id {part} with {given!r}.")
    named = ", ".join(found[:MAX_NAMED]) + (", …" if len(found) > MAX_NAMED else "")
    raise NotFound(kind, f"{given!r} fits more than one {kind} id: {named}. Give more of it.")


def one_named(given: str, names: Mapping[str, str], kind: str) -> str | None:
    """The id that is this, else of the one thing with this name, else of the one whose id begins so; None for none.

    `names`: id → name. Raises NotFound for several.
    """
    if given in names:
        return given
    found = tuple(one for one, name in names.items() if name == given)
    found = found or tuple(one for one in names if one.startswith(given.lower()))
    return only_one(given, found, kind) if found else None
