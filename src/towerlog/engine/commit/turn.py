"""The placing of one group: how each of its commands is carried out, and what is known however often it is placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.commit.drawn import DrawnIds
from towerlog.engine.commit.load import Known, Needs
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.submission import Steps, Submission
from towerlog.errors import TowerlogError
from towerlog.model.outcome import Placed
from towerlog.model.principal import Principal


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
