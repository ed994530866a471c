"""What the audit says that people have set: of each object the state that its newest entry left it in.

Only what is set by acts alone is among it: budgets, prices, policies of retention, alert rules, members, keys, versions
of personas, the newest of each route, and the organisation's name. What is counted of them stands in no entry, and of
their secrets a short digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.audit.states import KEY_DIGEST, NUMBER, PASSWORD_DIGEST, PRICED
from towerlog.model.agent import normal_name
from towerlog.model.audit import Action, AuditEntry
from towerlog.model.principal import Role

Thing = tuple[str, str]
"""The type and the id of an object."""
SETS = frozenset(
    {
        *(Action.ORGANISATION_CREATE, Action.ORGANISATION_RENAME, Action.KEY_CREATE, Action.KEY_REVOKE),
        *(Action.MEMBER_CREATE, Action.MEMBER_CHANGE, Action.MEMBER_REMOVE, Action.MEMBER_PASSWORD),
        *(Action.BUDGET_CREATE, Action.BUDGET_CHANGE, Action.BUDGET_DELETE, Action.PRICE_CREATE, Action.PRICE_DELETE),
        *(Action.ROW_RESTORE, Action.ROW_LOSE, Action.PERSONA_CREATE, Action.ROUTE_CREATE),
        *(Action.RULE_CREATE, Action.RULE_CHANGE, Action.RULE_DELETE, Action.RETENTION_SET, Action.RETENTION_CLEAR),
    }
)
"""Actions whose `after` is the whole state of their object."""
_LATER = frozenset({KEY_DIGEST, PASSWORD_DIGEST, PRICED, NUMBER})
"""Members of states that entries of versions before this do not speak of."""
_OF_MEMBER = {"name", "email", "role"}
"""Of the state of a member what its first session says, where it became one by that."""


class ToldState(NamedTuple):
    """What one entry says of an object."""

    number: int
    state: dict[str, Any] | None
    """None: it is not there any more."""
    unsaid: frozenset[str] | None = frozenset()
    """Members of the state that the entry does not speak of; None: it speaks of none."""

    def differing(self, now: dict[str, Any]) -> list[str]:
        """Members in which another state is not this one; one that is not there is null."""
        was = self.state or {}
        if self.unsaid is None:
            return []
        names = sorted(was.keys() | now.keys() - self.unsaid)
        return [name for name in names if _as_read(name, was.get(name)) != _as_read(name, now.get(name))]


def _as_read(member: str, value: Any) -> Any:
    """A member of a state as its row is read: with one form of an agent's name, which older entries may not have."""
    if member == "agent" and isinstance(value, str):
        return normal_name(value)
    if member == "scope" and isinstance(value, dict) and value.get("agent") is not None:
        return value | {"agent": normal_name(value["agent"])}
    return value


class FirstTold(NamedTuple):
    """The entry that tells first that an object is there."""

    at: int
    """Wall ms."""
    user_id: str | None
    key_id: str | None


class LostRow(NamedTuple):
    """An object that the audit tells of and whose row is not there."""

    type: str
    id: str
    told: ToldState
    """With a state."""
    made: FirstTold


class Tellings:
    """What the entries of one organisation say, taken in their order."""

    def __init__(self, org_id: str) -> None:
        """`org_id`: an audit may tell of other organisations as well, whose entries set nothing here."""
        self._org_id = org_id
        self._newest: dict[Thing, ToldState] = {}
        self._made: dict[Thing, FirstTold] = {}
        self._replaced: dict[Thing, list[ToldState | None]] | None = None
        self.is_whole = False
        """It begins with the making of the organisation: whatever there is was told of."""

    def take(self, number: int, doc: bytes) -> None:
        """An entry whose hash fits."""
        entry = msgspec.json.decode(doc, type=AuditEntry)
        for thing, told in self._things(number, entry):
            known = self._newest.get(thing)
            if known is None or known.state is None:
                self._made[thing] = FirstTold(entry.at, entry.actor.user_id, entry.actor.key_id)
            if self._replaced is not None:
                self._replaced.setdefault(thing, []).append(known)
            self._newest[thing] = told

    def _things(self, number: int, entry: AuditEntry) -> Iterator[tuple[Thing, ToldState]]:
        thing = (entry.object_type, entry.object_id)
        if entry.object_type == "organisation" and entry.object_id != self._org_id:
            return
        after = msgspec.json.decode(entry.after)
        if entry.action == Action.MEMBER_SIGN_IN and "role" in after:
            yield thing, ToldState(number, {name: after[name] for name in _OF_MEMBER & after.keys()}, _LATER)
            return
        if entry.action not in SETS:
            if thing not in self._newest:
                yield thing, ToldState(number, {}, None)
            return
        if entry.action == Action.ORGANISATION_CREATE:
            self.is_whole = self.is_whole or number == 1
            yield thing, ToldState(number, {"name": after["name"]})
            yield from _first_ones(number, after)
        else:
            yield thing, ToldState(number, after, _LATER - (after or {}).keys())

    def begin_reading(self) -> None:
        """From now on what is told may be newer than the rows that are read."""
        self._replaced = {}

    def things(self, kind: str) -> list[str]:
        """Ids of the objects of a type found in the audit."""
        return [name for of, name in self._newest if of == kind]

    def lost(self, thing: Thing, told: ToldState) -> LostRow:
        """An object whose row is not there, with the last that was told of it."""
        return LostRow(*thing, told, self._made[thing])

    def possible(self, thing: Thing) -> list[ToldState | None]:
        """What a row may say that was read while entries were written: the newest last."""
        return [*(self._replaced or {}).get(thing, ()), self._newest.get(thing)]


def _first_ones(number: int, after: dict[str, Any]) -> Iterator[tuple[Thing, ToldState]]:
    """The member and the key that an organisation is made with."""
    user_id, name = after["user_id"], after["user_name"]
    yield ("member", user_id), ToldState(number, {"name": name, "role": Role.ADMIN.value}, _LATER)
    key = {"name": name, "user_id": user_id} | {name: after[name] for name in _LATER & after.keys()}
    yield ("key", after["key_id"]), ToldState(number, key, frozenset({"scopes"} | (_LATER - after.keys())))
