"""Points at which a server can be killed, by what it is doing there; each is a call of the disk or of the program.

`tests/faults/test_placed_kills.py` reaches all of them. This module is imported by the tests, and by the process of the
server, where `plant` puts a point into the program.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """Either a rule of `disk.c`, or a function of the program."""

    during: str
    """What the test does to get there: see `test_placed_kills.py`."""
    rule: str = ""
    function: str = ""
    """`module:name` or `module:class.name`."""
    is_after: bool = False
    """Killed when the function has done its work; else before it begins."""
    skip: int = 0
    """So many calls are let through."""
    given: Callable[..., bool] = lambda *_, **__: True
    """Of these arguments alone a call counts."""
    done: Callable[[Any], bool] = lambda _: True
    """With this result alone, where the point is after it."""


STORE = "towerlog.store.sqlite"
WRITE, WHOLE = f"{STORE}.write", f"{STORE}.upkeep.matching_files"


def _has(field: str) -> Callable[..., bool]:
    return lambda _db, changes, *_: bool(getattr(changes, field))


def _has_new_messages(_db: object, changes: Any, *_: object) -> bool:
    return any(not delivery.tries for delivery in changes.deliveries.values())


def _mode(name: str) -> Callable[..., bool]:
    def is_of(_db: Any, mode: int | None = None) -> bool:
        import apsw

        return mode == getattr(apsw, name)

    return is_of


POINTS = {
    # A group.
    "before the first frame of a group": Point("load", rule="head .db-wal KILL 0 1"),
    "between the head of a frame and its page": Point("load", rule="page .db-wal KILL 0 1"),
    "between two frames of a group": Point("load", rule="head .db-wal KILL 1 1"),
    "between the frames of a group and their sync": Point("load", rule="sync .db-wal KILL 0 1"),
    "between the commit of a group and its publishing": Point("load", function=f"{WRITE}:write_changes", is_after=True),
    "between the publishing of a group and its acknowledgement": Point(
        "load", function="towerlog.engine.commit.writer:_answer"
    ),
    "between two acknowledgements of a group": Point(
        "load", function="towerlog.engine.commit.writer:_answer", is_after=True
    ),
    # A checkpoint.
    "before the first page of a checkpoint": Point("hurried load", rule="page .db KILL 0 1"),
    "between two pages of a checkpoint": Point("hurried load", rule="page .db KILL 1 1"),
    "between the pages of a checkpoint and their sync": Point("hurried load", rule="sync .db KILL 0 1"),
    "between a checkpoint and its note": Point(
        "hurried load", function=f"{STORE}.connections.connection:checkpoint", is_after=True
    ),
    "between the restart of a log that was held and the next group": Point(
        "held load",
        function=f"{STORE}.connections.connection:checkpoint",
        is_after=True,
        given=_mode("SQLITE_CHECKPOINT_RESTART"),
        done=lambda moved: bool(moved[0] >= 0),
    ),
    # The log begins anew.
    "before the log begins anew": Point("idle", function=f"{WHOLE}:renew_log"),
    "before the name of the next log": Point("idle", function=f"{WHOLE}:begin_log"),
    "before the header of the next log": Point("idle", rule="header .db-wal KILL 0 1"),
    "before the log is cut": Point("idle", rule="truncate .db-wal KILL 0 1"),
    "between the name in the log and the one in the database": Point(
        "idle", function=f"{WHOLE}:_write", is_after=True, skip=1
    ),
    "between the name in the database and the one that the log begins with": Point(
        "idle", function=f"{WHOLE}:_write", skip=2
    ),
    # Replies that are stored, and leases.
    "between a command with a key and its reply": Point(
        "keyed", function=f"{WRITE}:write_changes", is_after=True, given=_has("replies")
    ),
    "before a stored reply is written": Point("keyed", function=f"{WRITE}:_write_state", given=_has("reply_bodies")),
    "between a stored reply and its commit": Point(
        "keyed", function=f"{WRITE}:_write_state", is_after=True, given=_has("reply_bodies")
    ),
    "after the commit of a stored reply": Point(
        "keyed", function=f"{WRITE}:write_changes", is_after=True, given=_has("reply_bodies")
    ),
    "between the commit of a lease and its acknowledgement": Point(
        "claim", function=f"{WRITE}:write_changes", is_after=True, given=_has("lanes")
    ),
    # What one event tells, in several commits.
    "after a commit of new messages": Point(
        "telling", function=f"{WRITE}:write_changes", is_after=True, given=_has_new_messages
    ),
    # A start and a stop.
    "before the schema of a new store": Point("first start", function=f"{STORE}.connections.connection:migrate"),
    "between the schema of a new store and its name": Point(
        "first start", function=f"{STORE}.connections.connection:ensure_epoch"
    ),
    "before a log that a kill has left is synced": Point("start", rule="sync .db-wal KILL 0 1"),
    "before leases are given their length anew": Point("start", function=f"{WRITE}:refresh_leases"),
    "before the log is emptied at a stop": Point("stop", function=f"{WHOLE}:settle_log"),
    "before the database says that it is whole without its log": Point("stop", function=f"{WHOLE}:_write"),
    "between the word that the database is whole and the emptying of the log": Point(
        "stop", function=f"{WHOLE}:_write", is_after=True
    ),
    "before the log is cut at a stop": Point("stop", rule="truncate .db-wal KILL 0 1"),
    "after the log was emptied at a stop": Point("stop", function=f"{WHOLE}:settle_log", is_after=True),
}
"""Name → how it is reached."""


def plant(name: str) -> None:
    """From when the file FAULTY_ARMED is there, this process kills itself at the point."""
    point = POINTS[name]
    module, _, path = point.function.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, function = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    before = getattr(owner, function)
    seen = 0

    @functools.wraps(before)
    def watched(*args: Any, **more: Any) -> Any:
        nonlocal seen
        is_there = os.path.exists(os.environ["FAULTY_ARMED"]) and point.given(*args, **more)
        is_met = is_there and seen >= point.skip
        seen += is_there
        if is_met and not point.is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = before(*args, **more)
        if is_met and point.done(done):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(owner, function, watched)
