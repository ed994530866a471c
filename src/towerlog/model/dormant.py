"""Agents of a run that have told nothing for a while: what they have told, packed, and its sums.

A share in full takes 350 bytes of the row and more, so only those of the agents that told last are. Of the others each
is a text of about 60 to 100 bytes, and what counts of all of them is a sum, which one that tells again leaves with
exactly what it has added. Nothing is lost by either way: an agent goes on as if it had been in full all the time.

Of those that are forgotten altogether a digest of the name is left: what they tell then may have counted already.
"""

from __future__ import annotations

import string
from base64 import b64encode
from hashlib import blake2b

import msgspec
from msgspec.structs import astuple

from towerlog.model.agent_share import AgentShare, Forgotten
from towerlog.model.computed_costs import NO_COMPUTED, Computed
from towerlog.model.packed_share import pack, points_in, unpack
from towerlog.model.running_totals import RunningTotals
from towerlog.model.usage import NO_USAGE, Usage, summed

MAX_DIGESTS = 768
"""Agents of a run that are forgotten, and known to be."""
DIGEST_CHARS = 14
"""Of each: seven of its digest (42 bits), what it had told, and how many tokens have counted of it in six."""
MAX_WHOLE_NAME = 40
"""Characters of a name that stands as it is; a longer one stands by its digest, unless its agent waits."""
_LONG = "~"
"""Begins such a digest. A name that begins with it stands by its digest too."""
_DIGEST_BYTES = 12
_MARK_CHARS = 7
_HAD_CALLS, _HAD_TOTALS = "c", "t"
_LETTERS = string.ascii_letters + string.digits + "-_"
_MAX_TOKENS = 64**6 - 1
"""So many or more are unknown."""
_FIGURES = len(NO_USAGE.__struct_fields__)
_NOT_KNOWN = (0,) * (_FIGURES + 1)
_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode


class Dormant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Agents of a run beside those that told last."""

    shares: dict[str, str] = {}
    """By name, or digest of a long one, the one that told last at the end: a letter that says how many running totals
    stand in it (`A` for none), a small one for an agent that waits for approval; and what it has told."""
    models: tuple[tuple[str, int], ...] = ()
    """The models that these have named last, by place, and how many of them each. A place of none is free."""
    several: int = 0
    """How many of them have named more than one."""
    awaiting: int = 0
    """How many wait for an approval."""
    told: Usage = NO_USAGE
    """What counts of what they have told."""
    computed: Computed = NO_COMPUTED
    """And of what was computed of it."""
    known: tuple[int, ...] = _NOT_KNOWN
    """How many of them know each figure of `told`, and at the end that of `computed`: one of none is unknown."""
    step_index: int = -1
    step_agent: str | None = None
    """The highest checkpoint that one of them had when it came here, and whose it was."""
    forgotten: str = ""
    """Digests of those that are forgotten, each of DIGEST_CHARS, the one that went last at the end."""

    def key_of(self, agent: str) -> str | None:
        """By what an agent stands among the shares; None where it does not."""
        if agent in self.shares:
            return agent
        key = _key(agent)
        return key if key in self.shares else None

    def share(self, agent: str) -> AgentShare | None:
        """What an agent has told; None where it is not one of these."""
        key = self.key_of(agent)
        return None if key is None else self._unpacked(key)

    def waiting(self) -> list[tuple[str, AgentShare]]:
        """Those that wait for an approval, by their names."""
        return [(key, self._unpacked(key)) for key, packed in self.shares.items() if packed[0].islower()]

    def model_names(self) -> set[str]:
        """The models that they have named last."""
        return {name for name, count in self.models if count}

    def names(self) -> list[str]:
        """Those whose names stand as they are."""
        return [key for key in self.shares if not _is_digest(key)]

    def with_share(self, agent: str, share: AgentShare) -> Dormant:
        """With what an agent has told that is none of these."""
        models, place = self.models, 0
        if share.model is not None:
            models, place = _with_model(models, share.model)
        waits = share.awaited_step >= 0
        key = agent if waits else _key(agent)
        told, computed, known = self._sums(share, 1)
        step, name = max((self.step_index, self.step_agent or ""), (share.step_index, agent))
        return _replace(
            self,
            shares={**self.shares, key: pack(share, place)},
            models=models,
            several=self.several + share.several_models,
            awaiting=self.awaiting + waits,
            told=told,
            computed=computed,
            known=known,
            step_index=step,
            step_agent=name if step >= 0 else None,
        )

    def without(self, key: str) -> tuple[Dormant, AgentShare]:
        """Without one of them, and what that has told."""
        shares = dict(self.shares)
        _, place = unpack(shares[key])
        share = self._unpacked(key)
        del shares[key]
        told, computed, known = self._sums(share, -1)
        found = _replace(
            self,
            shares=shares,
            models=_without_model(self.models, place) if place else self.models,
            several=self.several - share.several_models,
            awaiting=self.awaiting - (share.awaited_step >= 0),
            told=told,
            computed=computed,
            known=known,
        )
        return found, share

    def with_running(self, key: str, running: RunningTotals | None) -> Dormant:
        """With other running totals of one of them, which say the same together; in its place."""
        _, place = unpack(self.shares[key])
        share = _replace(self._unpacked(key), running=running)
        return _replace(self, shares={**self.shares, key: pack(share, place)})

    def with_fewer_points(self) -> Dormant | None:
        """With fewer running totals of one: of the oldest that has more than two, else that has any; None for none."""
        for most in (2, 0):
            for key, packed in self.shares.items():
                if points_in(packed) > most:
                    running = self._unpacked(key).running
                    assert running is not None, "it has points"
                    fewer = running.of_highest(most)
                    return self.with_running(key, fewer if most else None)
        return None

    def oldest(self) -> str:
        """The one to be forgotten first: those that wait for an approval are the last to go."""
        return next((key for key, packed in self.shares.items() if packed[0].isupper()), next(iter(self.shares)))

    def size(self) -> int:
        """What all of them take as JSON, but for those that are forgotten."""
        return len(_encode(self)) - len(self.forgotten)

    def remembering(self, agent: str, share: AgentShare) -> Dormant:
        """With an agent known as one that is forgotten, which has told this. `agent`: its name, or the digest that
        stands for it."""
        mark = _mark(agent)
        at = self._place_of(mark)
        before = self.forgotten if at < 0 else self.forgotten[:at] + self.forgotten[at + DIGEST_CHARS :]
        floor, own = share.floor, share.counted().total_tokens or 0
        if share.forgotten is None:
            floor = 0
        tokens = _MAX_TOKENS if floor is None else min(_MAX_TOKENS, floor + own)
        told = _HAD_TOTALS if share.has_totals() else _HAD_CALLS
        return _replace(self, forgotten=before + mark + told + _letters(tokens))

    def of_digests(self, count: int) -> Dormant:
        """With so many digests at most, the newest."""
        return _replace(self, forgotten=self.forgotten[-count * DIGEST_CHARS :] if count else "")

    def was_forgotten(self, agent: str) -> AgentShare | None:
        """The share of an agent that is known to be forgotten, as it goes on; None where it is not."""
        at = self._place_of(_mark(agent)) if self.forgotten else -1
        if at < 0:
            return None
        told, tokens = self.forgotten[at + _MARK_CHARS], self.forgotten[at + _MARK_CHARS + 1 : at + DIGEST_CHARS]
        floor = _number(tokens)
        forgotten: Forgotten = "totals" if told == _HAD_TOTALS else "calls"
        return AgentShare(forgotten=forgotten, floor=None if floor == _MAX_TOKENS else floor)

    def _place_of(self, mark: str) -> int:
        at = self.forgotten.find(mark)
        while at >= 0 and at % DIGEST_CHARS:
            at = self.forgotten.find(mark, at + 1)
        return at

    def _unpacked(self, key: str) -> AgentShare:
        share, place = unpack(self.shares[key])
        return _replace(share, model=self.models[place - 1][0]) if place else share

    def _sums(self, share: AgentShare, sign: int) -> tuple[Usage, Computed, tuple[int, ...]]:
        computed, known = share.computed_cost(), list(self.known)
        figures = [*astuple(self.told), self.computed.nanos]
        for at, more in enumerate((*astuple(share.counted()), computed.nanos)):
            if more is not None:
                known[at] += sign
                figures[at] = summed(figures[at] or 0, sign * more) if known[at] else None
        unpriced = self.computed.unpriced + sign * computed.unpriced
        return Usage(*figures[:-1]), Computed(figures[-1], unpriced), tuple(known)


# Names


def _digest(agent: str) -> str:
    """Sixteen letters."""
    return b64encode(blake2b(agent.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def _is_digest(key: str) -> bool:
    return key.startswith(_LONG) and len(key) == 1 + _DIGEST_BYTES // 3 * 4


def _key(agent: str) -> str:
    is_whole = len(agent) <= MAX_WHOLE_NAME and len(_encode(agent)) <= 2 * MAX_WHOLE_NAME
    return agent if is_whole and not agent.startswith(_LONG) else _LONG + _digest(agent)


def _mark(agent: str) -> str:
    """Of the name of an agent that is not there any more, or the digest that stood for it."""
    digest = agent[len(_LONG) :] if _is_digest(agent) else _digest(agent)
    return digest[:_MARK_CHARS]


def _letters(number: int) -> str:
    return "".join([_LETTERS[number >> bits & 63] for bits in range(30, -1, -6)])


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number << 6 | _LETTERS.index(letter)
    return number


# Models


def _with_model(models: tuple[tuple[str, int], ...], model: str) -> tuple[tuple[tuple[str, int], ...], int]:
    """With one agent more of a model, and the place of that, which is 1 for the first."""
    free = None
    for at, (name, count) in enumerate(models):
        if count and name == model:
            return (*models[:at], (name, count + 1), *models[at + 1 :]), at + 1
        if not count and free is None:
            free = at
    if free is None:
        return (*models, (model, 1)), len(models) + 1
    return (*models[:free], (model, 1), *models[free + 1 :]), free + 1


def _without_model(models: tuple[tuple[str, int], ...], place: int) -> tuple[tuple[str, int], ...]:
    name, count = models[place - 1]
    left = (*models[: place - 1], (name, count - 1) if count > 1 else ("", 0), *models[place:])
    while left and not left[-1][1]:
        left = left[:-1]
    return left
