"""One question to the store, for a whole group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from towerlog.model.event import RunByForeignId, RunById, RunByTrace, RunRef
from towerlog.store.base import Unit
from towerlog.store.values import Kind

if TYPE_CHECKING:  # what is known asks by this
    from towerlog.engine.load.rows import Known

RefKey = tuple[int, str, str]
REF_RUN, REF_FOREIGN = "\x1frun", "\x1fforeign"
"""Stand in a reference's place for a thread id; no thread id holds a control character."""


def _ref_of(key: RefKey) -> tuple[int, RunRef]:
    org, scope, name = key
    if scope == REF_FOREIGN:
        return org, RunByForeignId(name, "")
    return org, RunById(name) if scope == REF_RUN else RunByTrace(scope, name)


def _order(key: Any) -> Any:
    """Ascending; None (a claim of any agent) before all else."""
    return tuple((part is not None, part) for part in key) if isinstance(key, tuple) else key


async def fetch(unit: Unit, known: Known, serving_ms: int, asked: Mapping[Kind, Iterable[Any]]) -> None:
    """One question to the store: kinds and keys always in one order, in which a backend can lock rows."""
    wanted = {kind: sorted(asked[kind], key=_order) for kind in sorted(asked)}
    refs = wanted.get(Kind.REF)
    if refs is None:
        known.absorb(wanted, await unit.load(wanted, serving_ms))
        return
    by_ref = {_ref_of(key): key for key in refs}
    found = await unit.load({**wanted, Kind.REF: list(by_ref)}, serving_ms)
    found[Kind.REF] = {by_ref[asked]: row for asked, row in found.get(Kind.REF, {}).items()}
    known.absorb(wanted, found)
