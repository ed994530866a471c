"""Locks that nodes have against each other, all of them advisory: they end with a transaction or a connection.

The one lock that matters is an organisation's. Whoever plans with what it has read of an organisation holds it from
before the reading to the end of the transaction: so what was read stays true, and positions rise in the order of the
commits. It is held for one group of commands, and in nobody's way but that of the same organisation's other writers.

Beside the lock stands a stamp. Whoever changes rows of an organisation under its lock leaves a stamp there that
nobody can foresee, in the same transaction. Who finds the stamp that it has seen last, with the lock held, has missed
nothing: neither another node's commit, nor that a fail-over has taken its own away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from towerlog.store.postgres.connections import Db

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


MAX_KNOWN = 16_384
"""Organisations whose stamps a process remembers."""
NEW_STAMP = "gen_random_uuid()"
STAMPS = "SELECT org, stamp::text FROM org_count WHERE org = ANY($1)"


def stamping(orgs: Collection[int]) -> str:
    """The statement that leaves new stamps."""
    return f"UPDATE org_count SET stamp = {NEW_STAMP} WHERE org IN ({_listed(orgs)})"


def _listed(orgs: Iterable[int]) -> str:
    return ", ".join(str(int(org)) for org in sorted(set(orgs)))


class Stamps:
    """Those that this process has seen, each under its organisation's lock. Who has seen none knows nothing of it."""

    def __init__(self) -> None:
        """None yet."""
        self._seen: dict[int, str | None] = {}
        """None: not to be found again."""

    def asking(self, orgs: Iterable[int]) -> str:
        """The statement that finds those of these organisations that have the stamp seen last."""
        pairs = [f"({int(org)}, '{self._seen[org]}'::uuid)" for org in orgs if self._seen.get(org)]
        return f"SELECT FROM org_count WHERE (org, stamp) IN ({', '.join(pairs)})" if pairs else "SELECT WHERE false"

    def take(self, orgs: Iterable[int], found: Iterable[tuple[int, str]]) -> bool:
        """The stamps that these organisations have. False where one has another than was seen last: then all that is
        known of any organisation is to be forgotten."""
        stored = dict(found)
        now = {org: stored.get(org) for org in orgs}
        is_same = all(stamp is not None and self._seen.get(org, stamp) == stamp for org, stamp in now.items())
        is_same = is_same and len(self._seen) < MAX_KNOWN
        if not is_same:
            self._seen.clear()
        self._seen |= now
        return is_same

    def note(self, orgs: Iterable[int], stamp: str) -> None:
        """The stamp that this process has left, with a commit of which it knows all."""
        self._seen |= dict.fromkeys(orgs, stamp)

    def doubt(self, orgs: Iterable[int]) -> None:
        """What is known of these may not be what is stored: no stamp is the one seen last."""
        self._seen |= dict.fromkeys(orgs)

    def knows_any(self, orgs: Iterable[int]) -> bool:
        """Whether anything may be known of one of these."""
        return any(org in self._seen for org in orgs)
