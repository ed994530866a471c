"""Asking a unit of work about one kind of value."""

from __future__ import annotations

from typing import Any

from towerlog.store.base import Unit
from towerlog.store.values import Kind


async def looked_up(unit: Unit, kind: Kind, *keys: Any, now_ms: int = 0) -> dict[Any, Any]:
    """The values of these keys; what there is not is left out. `now_ms` (steady clock) matters to claims alone."""
    return (await unit.load({kind: list(keys)}, now_ms))[kind]
