"""The placing of one group: how each of its commands is carried out, and what is known however often it is placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.commit.drawn import DrawnIds
from towerlog.engine.commit.load import Known, Needs, NotLoaded
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.submission import Steps, Submission
from towerlog.errors import TowerlogError
from towerlog.model.outcome import Placed
from towerlog.model.principal import Principal

MAX_RELOADS = 64
"""How often a group is placed anew: what is asked for then has not been loaded by anything."""


class Verb(NamedTuple):
    """How a command is carried out: what it needs, and what it changes once that is loaded."""

    needs: Callable[[Needs, Principal, Any], None]
    place: Callable[[Plan, Principal, Any], Placed | TowerlogError | Steps[Placed | TowerlogError]]


class Turn(msgspec.Struct, eq=False):
    """The placing of one group, however often: what is known, its time, its names, and who broke."""

    known: Known
    now_ms: int
    steady_ms: int
    ids: DrawnIds
    broken: dict[Submission, TowerlogError] = {}
    rounds: int = 0

    def missed(self, missing: list[NotLoaded]) -> list[NotLoaded]:
        """What has to be loaded, each once. Raises the first of it when loading has not helped `MAX_RELOADS` times."""
        self.rounds += 1
        if self.rounds > MAX_RELOADS:
            raise missing[0]
        return list({(one.kind, one.key): one for one in missing}.values())
