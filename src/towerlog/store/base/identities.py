"""Identities: organisations, users, keys, and what people have registered (personas, routes).

Laws:

* The store gives an organisation its number. Names and ids of organisations are unique, so is the digest of a key.
* What is written through `org_create`, `org_rename`, `org_remove`, `org_put_back`, `key_put`, `key_revoke`, `link_put`
  and `clock_confirm` is durable at once, outside any unit, and the audit's entry about it with it.
* An organisation that was removed is not among `orgs`, has no key and no session, and nothing is sent for it. What else
  it has is erased in steps (`Unit.erase_org`) and found again after a restart until that is done. Its number and its
  id are never given again; its name may be.
* Versions of personas and routes never change and are never dropped; the one that was made last is the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from towerlog.model.audit import AuditEntry
from towerlog.model.key import Key, KeyFound
from towerlog.model.member import SignInLink
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import Org, User
from towerlog.model.removal import OrgHolds, RemovedOrg
from towerlog.store.values import AuditHead, Found


class Organisations(Protocol):
    """What it takes to make an organisation."""

    async def orgs(self) -> list[Org]:
        """All organisations, oldest first."""
        ...

    async def org_create(
        self,
        org: Org,
        user: User,
        key: Key,
        told: AuditEntry,
        link: SignInLink | None = None,
        also: AuditEntry | None = None,
        most: int | None = None,
    ) -> Org:
        """A new organisation with its first user and key, and a link by which that user may sign in; its number is
        given by the store, also to the entry. `also`: an entry for the audit of another organisation; `most`: how
        many there may be with it. Raises Conflict for a name that is taken, or for one too many."""
        ...


class RemovesOrganisations(Protocol):
    """What it takes to remove one."""

    async def org_holds(self, org: int) -> OrgHolds:
        """What an organisation holds, by its number."""
        ...

    async def org_remove(self, removed: RemovedOrg, told: Iterable[AuditEntry]) -> None:
        """Ends all keys, sessions and links of an organisation, and takes it out of all lists. Raises NotFound where
        it is removed already."""
        ...

    async def orgs_removed(self, limit: int) -> list[RemovedOrg]:
        """Those that were removed last, the last first."""
        ...


class Identities(Organisations, RemovesOrganisations, Protocol):
    """Organisations and keys for a command beside the process that writes the log; must touch nothing else.

    Raises StoreLocked where that process keeps the store to itself for too long, else StorageFailed.
    """

    @property
    def is_alone(self) -> bool:
        """True when no other process can write this store now."""
        ...

    def first_user(self, org: int) -> User:
        """The user that the organisation was made with."""
        ...

    def keys(self, org: int) -> Iterator[Key]:
        """All keys of an organisation, newest first; read a page at a time."""
        ...

    def key_put(self, key: Key, told: AuditEntry) -> None:
        """Writes a new key."""
        ...

    def key_revoke(self, org: int, key_id: str, now_ms: int, told: Callable[[Key, Key], AuditEntry]) -> Key | None:
        """The key, revoked now or before; None when this organisation has no such key.

        `told` makes the entry of the key before and after, where it was not revoked before.
        """
        ...

    def members(self, org: int) -> tuple[User, ...]:
        """Members that are not removed, oldest first."""
        ...

    def link_put(self, link: SignInLink, told: AuditEntry) -> None:
        """Writes a new sign-in link."""
        ...

    def clock_confirm(self, confirm: str, told: Iterable[AuditEntry]) -> None:
        """Writes an operator's word about the wall clock, in place of one before; `told`: an entry of each
        organisation."""
        ...

    def close(self) -> None:
        """Lets go of the files."""
        ...


class IdentityStore(Organisations, RemovesOrganisations, Protocol):
    """Reads of identities, and the writes that do not wait for a unit."""

    async def org(self, number: int) -> Org | None:
        """One organisation, by its number."""
        ...

    async def org_rename(self, org: Org, told: Iterable[AuditEntry]) -> None:
        """Gives an organisation, by its number, the name that it has here. Raises Conflict for a name that is taken."""
        ...

    async def orgs_lost(self) -> list[int]:
        """Numbers of organisations of which the audit has entries and that have no row: damage has taken it. None of
        them is given again."""
        ...

    async def org_put_back(self, org: Org, head: AuditHead, told: AuditEntry) -> None:
        """Makes the row of such an organisation anew, with the numbers that it has given out by what is stored. `head`:
        the last entry of its audit; `told` follows it."""
        ...

    async def orgs_erasing(self) -> list[RemovedOrg]:
        """Removed ones whose erasure is not done."""
        ...

    async def key_by_digest(self, digest: bytes) -> KeyFound | None:
        """The key with this SHA-256, revoked or not, else the session. Never waits for the answer of another kind of
        question."""
        ...

    async def keys(self, org: int, limit: int, before: str | None) -> list[Key]:
        """Keys, newest first; `before` is a key id."""
        ...

    async def key_by_id(self, org: int, key_id: str) -> Key | None:
        """One API key, revoked or not; of a user's id, what a key of that member would be."""
        ...

    async def key_put(self, key: Key, told: AuditEntry) -> None:
        """Writes a key (new, or revoked now) at once."""
        ...

    async def secret(self, fresh: str) -> str:
        """What this store's servers sign with: as it was kept at first, which is `fresh` where nothing was. Durable."""
        ...

    async def users(self, org: int, user_ids: Iterable[str]) -> dict[str, User]:
        """Users by id."""
        ...

    async def persona(self, org: int, persona_key: str, version: str | None) -> Persona | None:
        """One version of a persona; None for the one that was made last."""
        ...

    async def personas(self, org: int, limit: int, before: int | None) -> Found[Persona]:
        """Versions of personas below a number, newest first."""
        ...

    async def route(self, org: int, route_id: str) -> ProviderRoute | None:
        """The newest version of a route."""
        ...

    async def routes(self, org: int, limit: int, before: int | None) -> Found[ProviderRoute]:
        """Versions of routes below a number, newest first."""
        ...
