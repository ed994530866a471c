"""The check of an organisation's audit: is its chain whole, and is its end the one that the organisation knows?"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.errors import StorageFailed
from towerlog.model.audit import chain_link
from towerlog.store.base import AuditStore
from towerlog.store.values import StoredEntry

PAGE_ENTRIES = 1000
Report = Callable[[str], None]


async def check_audit(store: AuditStore, report: Report, org: int) -> None:
    """Entries must be dense, the hash of each must cover the one before, and the organisation must know the last."""
    number, previous = 0, b""
    latest_at: int | None = None
    try:
        while page := await store.audit_chain(org, number, PAGE_ENTRIES):
            for entry in page:
                is_next = entry.number == number + 1
                if not is_next:
                    report(f"audit: {_entries(number + 1, entry.number - 1)} missing")
                for fault in _entry_faults(org, entry, (previous, latest_at) if is_next else None):
                    report(f"audit entry {entry.number}: {fault}")
                number, previous, latest_at = entry.number, entry.hash, entry.latest_at
        head = await store.audit_head(org)
    except StorageFailed as error:
        report(f"audit: cannot be read behind entry {number}: {error}")
        return
    if number < head.number:
        report(f"audit: {_entries(number + 1, head.number)} missing at its end")
    elif (number, previous) != head:
        report(f"audit: its last entry, {number}, is not the one that the organisation knows as its last")


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _entry_faults(org: int, entry: StoredEntry, before: tuple[bytes, int | None] | None) -> list[str]:
    """What is wrong with an entry; `before`: the hash and the latest time of the one before, if that is there."""
    faults = [entry.fault] if entry.fault else []
    if before is None:
        return faults
    previous, latest_at = before
    if chain_link(previous, org, entry.number, entry.doc) != entry.hash:
        faults.append("its hash does not fit: this entry or one before it was changed")
    elif entry.latest_at != (entry.at if latest_at is None else max(latest_at, entry.at)):
        faults.append("its columns do not say what the entry says")
    return faults
