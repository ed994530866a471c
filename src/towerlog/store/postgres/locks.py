"""Locks that nodes have against each other, all of them advisory: they end with a transaction or a connection.

The one lock that matters is an organisation's. Whoever plans with what it has read of an organisation holds it from
before the reading to the end of the transaction: so what was read stays true, and positions rise in the order of the
commits. It is held for one group of commands, and in nobody's way but that of the same organisation's other writers.
"""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.stamps import stamping

PURPOSE, ORG = 0x746C, 0x746D
"""The first of the two numbers of a lock: of one for a purpose, and of an organisation's."""
MIGRATING, MONTHS, PRESENT, ORGANISATIONS = 1, 2, 3, 4
"""The second: who migrates; who makes a month; who has the store open; who makes an organisation."""


def lock_purpose(purpose: int) -> str:
    """The statement that locks for a purpose, to the end of the transaction."""
    return f"SELECT pg_advisory_xact_lock({PURPOSE}, {purpose})"


def lock_orgs(orgs: Iterable[int]) -> str:
    """The statements that lock these organisations in their order, to the end of the transaction.

    For the simple protocol, since a statement that reads must begin after the lock is held to see what it protects.
    """
    return "; ".join(f"SELECT pg_advisory_xact_lock({ORG}, {int(org) & 0x7FFFFFFF})" for org in sorted(set(orgs)))


async def hold(db: Db, orgs: Iterable[int]) -> None:
    """Locks these organisations in the transaction that is open, which is going to change something of them."""
    if held := set(orgs):
        await db.connection.execute(f"{lock_orgs(held)}; {stamping(held)}")
