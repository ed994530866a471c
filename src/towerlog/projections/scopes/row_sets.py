"""An organisation's rows of one kind, and which of them something that happens may concern. Pure.

What happens is held against the rows that it may concern, and not against all that there are: a row is found under the
narrowest of what it is about, so a look-up costs as much as it finds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self, TypeVar

from towerlog.model.alert import AlertScope
from towerlog.model.budget import BudgetScope

V = TypeVar("V")
MAX_KNOWN_PLACES = 512
"""Of an index, of which it is kept which rows are about them."""


ScopeKey = tuple[str, str]
"""Something that a row may be about, a kind and a name. The kinds are `agent`, `thread`, `run` (the root of a tree),
`persona` and `label`; empty is all of the organisation. A plain tuple, since each event makes some."""
Place = tuple[str | None, str | None, str | None]
"""An agent, a thread and a persona, each None where no row is about it."""
ALL: ScopeKey = ("", "")


def key_of(scope: BudgetScope | AlertScope) -> ScopeKey:
    """The narrowest of what a scope names: what happens outside of that is outside of the scope."""
    if scope.run_id is not None:
        return "run", scope.run_id
    if scope.thread_id is not None:
        return "thread", scope.thread_id
    if isinstance(scope, AlertScope):
        if scope.label is not None:
            return "label", scope.label
        if scope.persona is not None:
            return "persona", scope.persona
    return ALL if scope.agent is None else ("agent", scope.agent)


class ScopeIndex:
    """Ids of rows by what these are about."""

    def __init__(self, scopes: Iterable[tuple[str, BudgetScope | AlertScope]]) -> None:
        """Of (row id, what it is about), the oldest first."""
        self._ids: dict[ScopeKey, list[tuple[int, str]]] = {}
        self._agents, self._threads = set[str | None](), set[str | None]()
        self._by_persona = self._by_more = False
        for place, (row_id, scope) in enumerate(scopes):
            self._ids.setdefault(key_of(scope), []).append((place, row_id))
            self._agents.add(scope.agent)
            self._threads.add(scope.thread_id)
            self._by_more = self._by_more or scope.run_id is not None
            if isinstance(scope, AlertScope):
                self._by_persona = self._by_persona or scope.persona is not None
                self._by_more = self._by_more or scope.label is not None
        self.kinds = frozenset(kind for kind, _ in self._ids)
        """Of what some row is about: what nothing is about need not be found out."""
        self.is_by_agent = not (self._by_persona or self._by_more or self._threads - {None})
        """Whether the agent alone tells which of the rows are about what it does."""
        self._known: dict[Place, list[str]] = {}

    def known(self, place: Place | None) -> list[str] | None:
        """The ids that were kept for a place."""
        return self._known.get(place) if place is not None else None

    def keep(self, place: Place | None, ids: list[str]) -> list[str]:
        """Keeps ids for a place, for as long as nothing changes of what rows are about; gives them."""
        if place is not None:
            if len(self._known) >= MAX_KNOWN_PLACES:
                self._known.clear()
            self._known[place] = ids
        return ids

    def place(self, agent: str, thread_id: str, persona_id: str | None) -> Place | None:
        """What tells which of the rows are about what an agent does in a run: as many places as these are about have
        all the same rows. None where more than this tells: what stands above the run, or its labels."""
        if self._by_more:
            return None
        thread = thread_id if thread_id in self._threads else None
        return agent if agent in self._agents else None, thread, persona_id if self._by_persona else None

    def ids(self, keys: Iterable[ScopeKey]) -> list[str]:
        """Of the rows that are about one of these, the oldest first."""
        found: list[tuple[int, str]] = []
        parts = 0
        for key in keys:
            part = self._ids.get(key)
            if part is not None:
                found = [*found, *part] if parts else part
                parts += 1
        return [row_id for _, row_id in (sorted(found) if parts > 1 else found)]


class RowSet(dict[str, V]):
    """Rows by their ids, the oldest first. A change looks at no other row."""

    ROW_BYTES: ClassVar[int] = 0
    """What a row takes at least, about."""

    def __init__(self, rows: Iterable[V] = ()) -> None:
        """Of all rows, the oldest first."""
        super().__init__((self.id_of(row), row) for row in rows)
        self._all: tuple[V, ...] | None = None
        self._bytes: int | None = None

    def id_of(self, row: V) -> str:
        """The row's id."""
        raise NotImplementedError

    def bytes_of(self, row: V) -> int:
        """What it takes beyond the least, about."""
        raise NotImplementedError

    def all(self) -> tuple[V, ...]:
        """All of them: the very same tuple until one changes."""
        if self._all is None:
            self._all = tuple(self.values())
        return self._all

    @property
    def held_bytes(self) -> int:
        """What all of them take, about."""
        if self._bytes is None:
            self._bytes = sum([self.ROW_BYTES + self.bytes_of(row) for row in self.values()])
        return self._bytes

    def copy(self) -> Self:
        """The same, to be changed: this one stays as it is."""
        other = type(self)()
        other.update(self)
        other._all, other._bytes = self._all, self._bytes
        return other

    def put(self, row_id: str, row: V | None) -> None:
        """Changes a row, or adds it at the end; None: it is gone."""
        before = self.get(row_id)
        if row is None:
            self.pop(row_id, None)
        else:
            self[row_id] = row
        self._all = None
        if before is None or row is None or not self.is_alike(before, row):
            self._bytes = None
            self.forget()

    def is_alike(self, before: V, after: V) -> bool:
        """Whether a change of a row leaves its size, and what it is about, as they were."""
        return False

    def forget(self) -> None:
        """What was worked out of what the rows are about holds no more."""
