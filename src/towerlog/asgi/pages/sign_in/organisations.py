"""The organisations of this server, for those who manage them: made, renamed, listed, removed.

That is a right beyond any organisation, so no role and no scope has it. The settings name one organisation whose
administrators have it; without that, nobody has it over HTTP, and everybody sees their own organisation alone. It opens
nothing of what another organisation has: whoever makes one is given a link and a key for its first member, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Protocol

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.asgi.guard.idempotency import checked_key
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import MAX_LABEL_CHARS, Reply, reply_json
from towerlog.dialects.fields import decode, invalid_field
from towerlog.dialects.native.admin.members import SIGN_IN_PATH
from towerlog.engine.audit.outside import organisation_removed, organisation_renamed
from towerlog.engine.bootstrap import DEFAULT_ORG, create_org
from towerlog.engine.erasure.removal import removed_now
from towerlog.errors import (
    Conflict,
    CrossSite,
    Forbidden,
    IdempotencyMismatch,
    InProgress,
    Invalid,
    Malformed,
    NotFound,
)
from towerlog.model.audit import Actor, ActorType
from towerlog.model.command import Idempotency
from towerlog.model.outcome import Replayed
from towerlog.model.principal import Org, Principal, Scope
from towerlog.model.removal import RemovedOrg
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.store.base import Store

_PATH = "/api/v1/organisations"
ADMIN = frozenset({Scope.ADMIN})
MAX_ORGANISATIONS = 1000
"""That are made over HTTP; more are made by `towerlog orgs create`."""
MAX_REMOVED_SHOWN = 100
"""Of those that were removed, the last."""
_NO_STORE = ((b"cache-control", b"no-store"),)
OrgName = Annotated[str, v.said("The organisation's name, which no other has.", "another team")]


class OrganisationName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an organisation is to be called."""

    name: OrgName


class OrganisationDetail(msgspec.Struct, frozen=True):
    """An organisation."""

    org_id: v.OrgId
    name: OrgName
    created_at: v.CreatedAt


class OrganisationRemoval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which organisation is removed, said twice: its id in the path, and its name."""

    name: Annotated[
        str | None, v.said("The organisation's name, letter for letter; not needed for a dry run.", "another team")
    ] = None
    dry_run: Annotated[bool, v.said("True: nothing is removed; only what would be is told.", False)] = False


class OrganisationRemoved(OrganisationDetail, frozen=True):
    """What an organisation held when it was removed, or holds now; and how far its erasure has come."""

    runs: Annotated[int, v.said("Runs that it has begun, erased ones too.", 1204)]
    events: Annotated[int, v.said("Events that it has recorded, erased ones too.", 48211)]
    keys: Annotated[int, v.said("Its keys that were not revoked.", 3)]
    members: Annotated[int, v.said("Its members.", 7)]
    removed_at: Annotated[v.Time | None, v.said("When it was removed; null of a dry run.")]
    erased_rows: Annotated[int, v.said("Rows of the store that are erased so far.", 51877)]
    erased_at: Annotated[v.Time | None, v.said("Since when nothing of it is left; null until then.")]


class OrganisationList(msgspec.Struct, frozen=True):
    """Those that the caller may see: its own, and all where it manages them."""

    data: Annotated[list[OrganisationDetail], v.said("The organisations, oldest first.")]
    is_manager: Annotated[bool, v.said("Whether the caller may make, rename and remove organisations.", False)]
    removed: Annotated[
        list[OrganisationRemoved],
        v.said(f"For those who manage them, the last {MAX_REMOVED_SHOWN} that were removed, the last first."),
    ]


class OrganisationMade(OrganisationDetail, frozen=True):
    """A new organisation, with what its first member needs. That is shown once: in a repeated reply it is null."""

    key: Annotated[str | None, v.said("The text of its first key, with every scope.", "tl_adm_0aB1c2D3_…")]
    sign_in_url: Annotated[
        str | None,
        v.said(
            "Signs its first member in, once, within an hour.", f"https://towerlog.example.com{SIGN_IN_PATH}h2v8c4tq"
        ),
    ]


class AnswersOnce(Protocol):
    """`Engine.once`."""

    async def __call__(
        self, principal: Principal, idempotency: Idempotency, work: Callable[[], Awaitable[OrganisationMade]], /
    ) -> OrganisationMade | Replayed: ...


_NAME = msgspec.json.Decoder(OrganisationName)
_REMOVAL = msgspec.json.Decoder(OrganisationRemoval)


class OrganisationPages:
    """Routes by which organisations are listed, made, changed and removed."""

    def __init__(self) -> None:
        """Served after `attach`."""
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._ids: Ids | None = None
        self._once: AnswersOnce | None = None
        self._managed_by = self._url = ""

    def attach(self, store: Store, once: AnswersOnce, clock: Clock, ids: Ids, url: str, managed_by: str) -> None:
        """`once` answers a request under its key. `url`: where browsers find the server; empty: where they found it.
        `managed_by`: the name of the organisation whose administrators manage all; empty: nobody does."""
        self._store, self._once, self._clock, self._ids = store, once, clock, ids
        self._url, self._managed_by = url, managed_by

    def routes(self) -> tuple[PageRoute, ...]:
        """All of them."""
        path, wrong = _PATH, (CrossSite, Conflict, Invalid, Malformed)
        return (
            PageRoute(
                "GET", path, "list_organisations",
                "The caller's organisation; all, for administrators of the one that manages them.",
                self.show, ADMIN, reply=OrganisationList,
            ),
            PageRoute(
                "POST", path, "create_organisation",
                "Make an organisation with a first member and key; only for those who manage organisations.",
                self.make, ADMIN, reply=OrganisationMade, reply_status=201, request=OrganisationName,
                knows_repeats=True, refuses=(*wrong, IdempotencyMismatch, InProgress),
            ),
            PageRoute(
                "PATCH", f"{path}/{{org_id}}", "rename_organisation",
                "Rename an organisation; only for those who manage organisations.",
                self.rename, ADMIN, reply=OrganisationDetail, request=OrganisationName, refuses=(NotFound, *wrong),
            ),
            PageRoute(
                "DELETE", f"{path}/{{org_id}}", "remove_organisation",
                "Remove an organisation with all that it holds; only for those who manage organisations.",
                self.remove, ADMIN, reply=OrganisationRemoved, request=OrganisationRemoval, refuses=(NotFound, *wrong),
            ),
        )  # fmt: skip

    async def show(self, visit: PageVisit) -> Reply:
        """Those that the caller may see."""
        principal, store = self._asker(visit)
        orgs = await store.orgs()
        manages = self._manages(principal, orgs)
        shown = orgs if manages else [org for org in orgs if org.org == principal.org]
        gone = await store.orgs_removed(MAX_REMOVED_SHOWN) if manages else []
        listed = OrganisationList([_detail(org) for org in shown], manages, [_removed(one) for one in gone])
        return reply_json(listed, 200, _NO_STORE)

    async def make(self, visit: PageVisit) -> Reply:
        """A new one. Raises Forbidden, Conflict, Invalid, Malformed, IdempotencyMismatch, InProgress."""
        principal, store = self._asker(visit)
        self._check(principal, await store.orgs())
        name = _name_of(visit)
        key = visit.headers.get(b"idempotency-key")
        if key is None:
            return reply_json(await self._made(visit, name), 201, _NO_STORE)
        assert self._once is not None
        route = f"POST {_PATH} {principal.key_id}"
        repeat = Idempotency(route, checked_key(key), hashlib.sha256(visit.body).digest(), _kept)
        made = await self._once(principal, repeat, partial(self._made, visit, name))
        if isinstance(made, Replayed):
            return Reply(made.status, made.body, headers=_NO_STORE)
        return reply_json(made, 201, _NO_STORE)

    async def _made(self, visit: PageVisit, name: str) -> OrganisationMade:
        principal, store = self._asker(visit)
        assert self._clock is not None
        assert self._ids is not None
        by = await self._actor(principal)
        made = await create_org(
            store,
            self._clock,
            self._ids,
            name,
            by=by,
            with_link=True,
            told_in=principal.org,
            address=visit.address,
            most=MAX_ORGANISATIONS,
        )
        url = self._url or f"http://{visit.headers.get(b'host', b'').decode('latin-1')}"
        org = made.org
        return OrganisationMade(
            org.org_id, org.name, format_ms(org.created_at), made.text, f"{url}{SIGN_IN_PATH}{made.link}"
        )

    async def rename(self, visit: PageVisit) -> Reply:
        """Another name. Raises NotFound, Forbidden, Conflict, Invalid, Malformed."""
        principal, store = self._asker(visit)
        org = await self._managed(visit)
        name = _name_of(visit)
        if org.name in (DEFAULT_ORG, self._managed_by) and name != org.name:
            raise Conflict(f"The organisation {org.name!r} keeps its name: settings and sign-ins go by it.")
        after = msgspec.structs.replace(org, name=name)
        if name != org.name:
            assert self._clock is not None
            now, by = self._clock.now_ms(), await self._actor(principal)
            places = {org.org, principal.org}
            told = [organisation_renamed(by, place, org, after, now, visit.address) for place in places]
            await store.org_rename(after, told)
        return reply_json(_detail(after), 200, _NO_STORE)

    async def remove(self, visit: PageVisit) -> Reply:
        """Ends it at once; what it holds is erased in the background. Raises NotFound, Forbidden, Conflict, Invalid,
        Malformed."""
        principal, store = self._asker(visit)
        org = await self._managed(visit)
        wanted = decode(_REMOVAL, visit.body)
        if org.org == principal.org or org.name in (DEFAULT_ORG, self._managed_by):
            raise Conflict(
                f"The organisation {org.name!r} stays: your own, the one that manages the others, and {DEFAULT_ORG!r},"
                " by which settings and sign-ins go, are not removed."
            )
        held = await store.org_holds(org.org)
        if wanted.dry_run:
            would = OrganisationRemoved(
                **msgspec.structs.asdict(_detail(org)),
                **msgspec.structs.asdict(held),
                removed_at=None,
                erased_rows=0,
                erased_at=None,
            )
            return reply_json(would, 200, _NO_STORE)
        if wanted.name != org.name:
            raise invalid_field("name", f"must be the name of the organisation that is removed, {org.name!r}")
        assert self._clock is not None
        removed = removed_now(org, held, self._clock.now_ms())
        by = await self._actor(principal)
        await store.org_remove(removed, [organisation_removed(by, principal.org, removed, visit.address)])
        return reply_json(_removed(removed), 200, _NO_STORE)

    async def _managed(self, visit: PageVisit) -> Org:
        """The organisation of the path, where the caller manages it. Raises NotFound, Forbidden."""
        principal, store = self._asker(visit)
        orgs = await store.orgs()
        org = next((org for org in orgs if org.org_id == visit.path["org_id"]), None)
        if org is None or (org.org != principal.org and not self._manages(principal, orgs)):
            raise NotFound("organisation")
        self._check(principal, orgs)
        return org

    def _asker(self, visit: PageVisit) -> tuple[Principal, Store]:
        assert visit.principal is not None
        assert self._store is not None
        return visit.principal, self._store

    def _manages(self, principal: Principal, orgs: list[Org]) -> bool:
        return any(org.org == principal.org and org.name == self._managed_by for org in orgs if self._managed_by)

    def _check(self, principal: Principal, orgs: list[Org]) -> None:
        if not self._manages(principal, orgs):
            raise Forbidden(
                "Only administrators of the organisation that TOWERLOG_ORGANISATIONS_MANAGED_BY names manage"
                " organisations; on the machine of the server, `towerlog orgs` does."
            )

    async def _actor(self, principal: Principal) -> Actor:
        assert self._store is not None
        store = self._store
        user = (await store.users(principal.org, [principal.user_id])).get(principal.user_id)
        key = None if principal.is_member else await store.key_by_id(principal.org, principal.key_id)
        return Actor(
            type=ActorType.MEMBER if principal.is_member else ActorType.KEY,
            user_id=principal.user_id or None,
            user_name=None if user is None else user.name,
            key_id=None if principal.is_member else principal.key_id,
            key_name=None if key is None else key.name,
        )


def _kept(made: OrganisationMade) -> tuple[int, bytes]:
    """What a repeat is told: without what is shown once."""
    return 201, reply_json(msgspec.structs.replace(made, key=None, sign_in_url=None), 201).body


def _detail(org: Org) -> OrganisationDetail:
    return OrganisationDetail(org.org_id, org.name, format_ms(org.created_at))


def _removed(removed: RemovedOrg) -> OrganisationRemoved:
    return OrganisationRemoved(
        removed.org_id,
        removed.name,
        format_ms(removed.created_at),
        **msgspec.structs.asdict(removed.held),
        removed_at=format_ms(removed.removed_at),
        erased_rows=removed.erased_rows,
        erased_at=format_optional_ms(removed.erased_at),
    )


def _name_of(visit: PageVisit) -> str:
    name = decode(_NAME, visit.body).name.strip()
    if not name or len(name) > MAX_LABEL_CHARS or not name.isprintable():
        raise invalid_field("name", f"must have 1 to {MAX_LABEL_CHARS} printable characters")
    return name
