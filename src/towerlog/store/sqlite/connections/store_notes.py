"""What the store knows of itself: rows of `meta`, and for those that stay as they are a digest each.

No hash, no log and no audit speaks of them. A digest is written with its note, so `verify` sees which one was changed.
What changes by itself has none: a node of the version before writes it as well, and would leave a wrong one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import apsw
import msgspec

from towerlog.model import folds

LASTING = ("copied", "epoch", "secret")
"""Notes that have a digest."""
DIGESTS = "digests"
FORWARDED = "forwarded"
"""Also the beginning of a name, with the organisation behind it: how far its log was sent to a collector."""
_NAMES = frozenset({*LASTING, DIGESTS, FORWARDED, "log", "age", "age_confirmed", "unwiped", "tries"})
_DIGITS = 16


@contextmanager
def whole(db: apsw.Connection) -> Iterator[None]:
    """All of it or nothing; inside a transaction, as a part of that.

    By statements: the end of `with db` waits for the sync and keeps the interpreter from all other threads meanwhile.
    """
    is_part = bool(db.in_transaction)
    if is_part:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(apsw.ConnectionClosedError):  # by whoever ends before its time: nothing of it was written
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise


def keep_note(db: apsw.Connection, name: str, value: str, more: str = "OR REPLACE") -> None:
    """Writes a note of `LASTING`, with its digest; `OR IGNORE`: only where there is none."""
    with whole(db):
        db.execute(f"INSERT {more} INTO meta VALUES (?, ?)", (name, value))
        if db.changes():
            _keep_digests(db, _digests(db) | {name: _digest(name, value)})


def keep_folds(db: apsw.Connection, org: int) -> None:
    """All rows of the organisation are, or will be, folded by this version; inside a transaction."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (folds.note_name(org), str(folds.FOLDS)))


def folds_of(db: apsw.Connection, org: int) -> int:
    """The version that has folded all rows of the organisation."""
    found = db.execute("SELECT value FROM meta WHERE name = ?", (folds.note_name(org),)).get
    return folds.read_folds(None if found is None else str(found))


def begin_digests(db: apsw.Connection) -> None:
    """Gives a digest to each note of a store that has none yet: a version before this has written it."""
    with whole(db):
        known = _digests(db)
        fresh = {name: _digest(name, value) for name, value in _notes(db).items() if name in LASTING}
        if fresh.keys() - known.keys():
            _keep_digests(db, fresh | known)


def begin_digests_anew(db: apsw.Connection) -> None:
    """The notes count as they are from now on."""
    db.execute("DELETE FROM meta WHERE name = ?", (DIGESTS,))
    begin_digests(db)


def note_faults(db: apsw.Connection) -> list[str]:
    """Notes that are not as they were written, are missing, or that no version knows."""
    try:
        notes = _notes(db)
    except (apsw.Error, UnicodeDecodeError) as error:
        return [f"meta: its rows cannot be read: {error}"]
    faults = [f"meta {name!r}: nothing of this name is kept" for name in sorted(notes) if not _is_known(name)]
    try:
        digests = _decoded(notes.get(DIGESTS))
    except ValueError as error:
        return [*faults, f"meta {DIGESTS!r}: cannot be read: {error}"]
    for name, digest in sorted(digests.items()):
        if name not in notes:
            faults.append(f"meta {name!r}: is missing")
        elif digest != _digest(name, notes[name]):
            faults.append(f"meta {name!r}: is not what was written")
    return faults + _forwarding_faults(db, notes)


def _is_known(name: str) -> bool:
    head, _, org = name.partition(":")
    return name in _NAMES or (head in (FORWARDED, folds.NOTE) and org.isdecimal())


def _forwarding_faults(db: apsw.Connection, notes: dict[str, str]) -> list[str]:
    """A place behind the end of a log, or none at all."""
    ends = {f"{FORWARDED}:{org}": int(position) for org, position in db.execute("SELECT org, position FROM org")}
    told = {name: value for name, value in notes.items() if name.startswith(f"{FORWARDED}:")}
    return [
        f"meta {name!r}: is no place of a log: {value!r}"
        for name, value in sorted(told.items())
        if not (value.isdecimal() and int(value) <= ends.get(name, 0))
    ]


def _notes(db: apsw.Connection) -> dict[str, str]:
    return {str(name): str(value) for name, value in db.execute("SELECT name, value FROM meta")}


def _digests(db: apsw.Connection) -> dict[str, str]:
    """Empty where they cannot be read: what is written then has one again."""
    found: Any = db.execute("SELECT value FROM meta WHERE name = ?", (DIGESTS,)).get
    try:
        return _decoded(found)
    except ValueError:
        return {}


def _decoded(text: str | None) -> dict[str, str]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, str])


def _keep_digests(db: apsw.Connection, digests: dict[str, str]) -> None:
    text = msgspec.json.encode(digests, order="deterministic").decode()
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (DIGESTS, text))


def _digest(name: str, value: str) -> str:
    return hashlib.sha256(f"{name}={value}".encode()).hexdigest()[:_DIGITS]
