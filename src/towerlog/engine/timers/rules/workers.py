"""Which workers ask for work, from what they ask this node or another for; a restart begins with none.

What is remembered has a place for each, with a share of them for every key and every organisation. Whoever asks under
ever new names has those forgotten that asked longest ago under the same key, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from towerlog.ambient import ServingTime
from towerlog.model.lane import ASKED_LATELY_MS, Lane

MAX_KNOWN = 10_000
"""Places of all organisations; past it, the organisation that has most of them loses what it was told longest ago."""
MAX_KNOWN_OF_ORGANISATION = 1000
MAX_KNOWN_OF_KEY = 500
PLACE_CHARS = 256
"""Of what a worker says of itself; who says more takes a place more for each so many."""


class _Kind(NamedTuple):
    """What workers of one kind ask for."""

    agents: tuple[str, ...] | None
    labels: tuple[tuple[str, str], ...]


class Workers:
    """When each worker, and each kind of them, has asked for work last."""

    def __init__(self, serving: ServingTime) -> None:
        """Nobody has asked yet."""
        self._serving = serving
        self._since = serving.now().serving_ms
        self._kinds: _Recent[_Kind, tuple[int, Mapping[str, str]]] = _Recent()
        self._seen: _Recent[str, int] = _Recent()

    def note(
        self,
        org: int,
        agents: tuple[str, ...] | None,
        labels: tuple[tuple[str, str], ...],
        worker_id: str = "",
        key_id: str = "",
    ) -> None:
        """A worker has asked a node for work, under this key; `agents` None: of any. Without a `worker_id` it is a node
        of an older version that tells of it."""
        now = self._serving.now().serving_ms
        chars = sum(map(len, agents or ())) + sum(len(name) + len(value) for name, value in labels)
        self._kinds.put(org, key_id, _Kind(agents, labels), (now, dict(labels)), 1 + chars // PLACE_CHARS)
        if worker_id:
            self._seen.put(org, key_id, worker_id, now, 1)

    def lately(self, org: int, serving_ms: int) -> list[tuple[str, str, int]]:
        """Workers of an organisation that have asked within ASKED_LATELY_MS: who, under which key, and when."""
        since = serving_ms - ASKED_LATELY_MS
        return [(who, key_id, at) for key_id, who, at in self._seen.of(org) if at >= since]

    def serves(self, lane: Lane, serving_ms: int) -> bool:
        """Whether some worker that could take this lane has asked within ASKED_LATELY_MS; true as well while this
        process has not listened for so long."""
        return self._since > serving_ms - ASKED_LATELY_MS or self.is_seen(lane, serving_ms)

    def is_seen(self, lane: Lane, serving_ms: int) -> bool:
        """Whether one is known to have asked within ASKED_LATELY_MS."""
        since = serving_ms - ASKED_LATELY_MS
        return any(
            at >= since and lane.may_be_taken_by(kind.agents, labels)
            for _, kind, (at, labels) in self._kinds.of(lane.org)
        )


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _OfKey(Generic[_Key, _Value]):
    """What is remembered for one key; what was put longest ago comes first."""

    def __init__(self) -> None:
        self.known: dict[_Key, tuple[_Value, int]] = {}
        """With the places that it takes."""
        self.places = 0

    def forget_first(self) -> int:
        """How many places that gives back."""
        _, places = self.known.pop(next(iter(self.known)))
        self.places -= places
        return places


class _OfOrganisation(Generic[_Key, _Value]):
    """What is remembered for one organisation, by its keys."""

    def __init__(self) -> None:
        self.keys: dict[str, _OfKey[_Key, _Value]] = {}
        self.places = 0

    def forget_first(self) -> int:
        """Of the key that has most places."""
        key_id, most = max(self.keys.items(), key=lambda one: one[1].places)
        places = most.forget_first()
        self.places -= places
        if not most.known:
            del self.keys[key_id]
        return places


class _Recent(Generic[_Key, _Value]):
    """What was put last, within the shares of keys and organisations."""

    def __init__(self) -> None:
        self._orgs: dict[int, _OfOrganisation[_Key, _Value]] = {}
        self._places = 0

    def of(self, org: int) -> Iterator[tuple[str, _Key, _Value]]:
        """What is remembered for an organisation: under which key, what, and what was put with it."""
        found = self._orgs.get(org)
        for key_id, mine in () if found is None else found.keys.items():
            for known, (value, _) in mine.known.items():
                yield key_id, known, value

    def put(self, org: int, key_id: str, known: _Key, value: _Value, places: int) -> None:
        """Remembers it as the newest; where there are too many, those that were put longest ago go for it."""
        places = min(places, MAX_KNOWN_OF_KEY)
        ours = self._orgs.setdefault(org, _OfOrganisation())
        mine = ours.keys.setdefault(key_id, _OfKey())
        before = mine.known.pop(known, None)
        grown = places - (0 if before is None else before[1])
        mine.known[known] = (value, places)
        mine.places, ours.places, self._places = mine.places + grown, ours.places + grown, self._places + grown
        while mine.places > MAX_KNOWN_OF_KEY:
            given = mine.forget_first()
            ours.places, self._places = ours.places - given, self._places - given
        while ours.places > MAX_KNOWN_OF_ORGANISATION:
            self._places -= ours.forget_first()
        while self._places > MAX_KNOWN:
            largest, most = max(self._orgs.items(), key=lambda one: one[1].places)
            self._places -= most.forget_first()
            if not most.keys:
                del self._orgs[largest]
