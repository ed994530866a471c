"""How a command ends: the exit codes, which error gives which, and the line on standard error."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import textwrap
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from towerlog.cli.commands import NotInstalled
from towerlog.cli.escapes import visible
from towerlog.config import BadSetting
from towerlog.errors import (
    Overloaded,
    SchemaMismatch,
    StorageFailed,
    StoreLocked,
    StoreTorn,
    TowerlogError,
    UnfitServer,
)
from towerlog.sdk.wire.errors import ApiError, SdkError
from towerlog.store.space import FULL_ERRNOS, no_room

P = ParamSpec("P")
T = TypeVar("T")

MAX_LINE_CHARS = 78
"""Of the table in `--help`, whose lines are not wrapped."""
SERVER_FAULT = 500
"""The lowest HTTP status of a fault of the server's own."""
OK = 0
FOUND_WRONG = 1
USAGE = 2
UNAVAILABLE = 69
STORAGE_FAILED = StorageFailed.exit_code
BUSY = 75
NO_PERMISSION = 77
CONFIGURATION = 78

MEANINGS: dict[int, str] = {
    OK: "done",
    FOUND_WRONG: "a check failed, the server refused the request, or an id matches no object or several; standard "
    "error has the details",
    USAGE: "the command line is wrong: a command, an option, a value, or a file that must not exist yet and does",
    UNAVAILABLE: "the store or the server cannot be reached or opened, the store or the address is in use by another "
    "process, packages that the command needs are not installed, or the system gives it no thread or memory",
    STORAGE_FAILED: "the storage failed, or has no room",
    BUSY: "the server is overloaded; try again",
    NO_PERMISSION: "the key is missing, not valid, or may not do this",
    CONFIGURATION: "a setting is wrong, the database has a schema that this version cannot work with, or the "
    "files of the store do not belong together",
}
"""For `--help` and the docs. The numbers from 69 on are those of sysexits.h."""


class NoKey(BadSetting):
    """There is no key for the server that is asked."""


def exit_codes() -> str:
    """The table as lines of text, none longer than a narrow terminal."""
    return "\n".join(
        textwrap.fill(meaning, MAX_LINE_CHARS, initial_indent=f"  {code:>2}  ", subsequent_indent=" " * 6)
        for code, meaning in MEANINGS.items()
    )


def exit_code_of(error: Exception) -> int | None:
    """What a command that ended with this error exits with; None for one that is not known."""
    match error:
        case NotInstalled():
            return UNAVAILABLE
        case StorageFailed():
            return STORAGE_FAILED
        case StoreLocked() | Overloaded():
            return UNAVAILABLE
        case NoKey():
            return NO_PERMISSION
        case SchemaMismatch() | StoreTorn() | BadSetting() | UnfitServer():
            return CONFIGURATION
        case TowerlogError():
            return FOUND_WRONG
        case ApiError():
            return _code_of_refusal(error)
        case SdkError():
            return UNAVAILABLE
        case BrokenPipeError():
            # The reader of standard output is gone, as `head` goes early: click ends quietly.
            return None
        case OSError():
            return STORAGE_FAILED if error.errno in FULL_ERRNOS else UNAVAILABLE
        case MemoryError():
            return UNAVAILABLE
        case _:
            return UNAVAILABLE if _lacks_threads(error) else None


def _code_of_refusal(error: ApiError) -> int:
    if error.status in (401, 403):
        return NO_PERMISSION
    if error.is_temporary:
        return BUSY
    return UNAVAILABLE if error.status >= 500 else FOUND_WRONG


def words_of(error: Exception) -> str:
    """The error for a person: what is wrong, and with what."""
    if _lacks_threads(error):
        return "the system starts no more threads for this user or unit: raise the limit of processes, or of memory"
    if isinstance(error, MemoryError):
        return "the system gives this process no more memory"
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename}: permission denied; {_whose(Path(str(error.filename)))}"
    if isinstance(error, OSError) and error.errno in FULL_ERRNOS:
        words = no_room(error.errno)
        return words if error.filename is None else f"{error.filename}: {words}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, ApiError) and not error.is_temporary and error.status < SERVER_FAULT:
        # The message is for people; status, code and the values that it is made of are for programs. What else is
        # wrong with a request's content stands in the details alone. Most messages quote their first detail.
        more = error.details.values() if error.blames_content else ()
        return "; ".join((error.message, *dict.fromkeys(detail for detail in more if detail not in error.message)))
    return str(error)


def _whose(path: Path) -> str:
    """Who may do what was denied, by the nearest thing on the way to this path that can be looked at."""
    for one in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return f"{one} belongs to {_user(one.stat().st_uid)}, and this command runs as {_user(os.geteuid())}"
    return f"this command runs as {_user(os.geteuid())}"


def _lacks_threads(error: Exception) -> bool:
    # Python has no class for it.
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose known errors end in a line on standard error and an exit code, never in a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            code = exit_code_of(error)
            if code is None:
                raise
            told = f"towerlog: {visible(words_of(error))}"
            # What a server refuses is a sentence; what the machine lacks is told without any more of it.
            print(_on_screen(told) if isinstance(error, ApiError) else told, file=sys.stderr)
            raise SystemExit(code) from None

    return run


def _on_screen(sentence: str) -> str:
    from towerlog.cli.output import broken, screen_width  # imports click, which may not be installed

    return "\n".join(broken(sentence, screen_width(sys.stderr)))
