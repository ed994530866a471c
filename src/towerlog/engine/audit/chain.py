"""The chain of the audit: is each entry where it was written, and its end the one that the organisation knows? And is
what people have set as the audit says that they have left it?"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.engine.audit.settings import compare_settings, read_settings
from towerlog.engine.audit.told import LostRow, Tellings
from towerlog.errors import StorageFailed
from towerlog.model.audit import chain_link
from towerlog.store.base import AuditStore, Store
from towerlog.store.values import AuditHead, StoredEntry

PAGE_ENTRIES = 1000
Report = Callable[[str], None]


async def check_audit(store: Store, report: Report, org: int, lose: Callable[[LostRow], None] | None = None) -> None:
    """Entries must be dense, the hash of each must cover the one before, and the organisation must know the last.

    Where all of that holds, rows that are set by acts are held against the newest entry about each. Entries may be
    written meanwhile. `lose`: given the rows that are not there, which are not reported then.
    """
    known = await store.org(org)
    walk = _Walk(org, report, Tellings("" if known is None else known.org_id))
    try:
        head = await walk.to_end(store)
        _check_end(walk, head)
        if known is None or walk.faults:
            return
        walk.tellings.begin_reading()
        settings = await read_settings(store, walk.note, known, walk.tellings)
        await walk.to_end(store)
    except StorageFailed as error:
        report(f"audit: cannot be read behind entry {walk.number}: {error}")
        return
    compare_settings(report, settings, walk.tellings, lose)


async def is_whole(store: AuditStore, org: int) -> bool:
    """Whether its entries are dense, each hash covers the one before, and the organisation knows the last."""
    faults: list[str] = []
    walk = _Walk(org, faults.append, Tellings(""))
    try:
        _check_end(walk, await walk.to_end(store))
    except StorageFailed:
        return False
    return not faults


class _Walk:
    """The entries of an organisation in their order, as far as they were read."""

    def __init__(self, org: int, report: Report, tellings: Tellings) -> None:
        self.number, self.previous = 0, b""
        self.faults = 0
        self.tellings = tellings
        self._org, self._report = org, report
        self._latest_at: int | None = None

    def note(self, fault: str) -> None:
        """Reports it."""
        self.faults += 1
        self._report(fault)

    async def to_end(self, store: AuditStore) -> AuditHead:
        """Takes all entries behind the last; the end that the organisation knows, once they are there."""
        while True:
            before = self.number
            while page := await store.audit_chain(self._org, self.number, PAGE_ENTRIES):
                for entry in page:
                    self._take(entry)
            head = await store.audit_head(self._org)
            if head.number <= self.number or self.number == before:
                return head

    def _take(self, entry: StoredEntry) -> None:
        is_next = entry.number == self.number + 1
        if not is_next:
            self.note(f"audit: {_entries(self.number + 1, entry.number - 1)} missing")
        faults = _entry_faults(self._org, entry, (self.previous, self._latest_at) if is_next else None)
        for fault in faults:
            self.note(f"audit entry {entry.number}: {fault}")
        if not self.faults:
            self.tellings.take(entry.number, entry.doc)
        self.number, self.previous, self._latest_at = entry.number, entry.hash, entry.latest_at


def _check_end(walk: _Walk, head: AuditHead) -> None:
    if walk.number < head.number:
        walk.note(f"audit: {_entries(walk.number + 1, head.number)} missing at its end")
    elif (walk.number, walk.previous) != head:
        walk.note(f"audit: its last entry, {walk.number}, is not the one that the organisation knows as its last")


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
