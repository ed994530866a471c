"""What `rebuild` says of rows that were lost by damage: which were made anew, which are gone, and what to do then."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Any

from towerlog.ambient import Clock
from towerlog.cli.output import note
from towerlog.engine.audit.mending import Mended, lacks_keys, mend_rows, put_org_back
from towerlog.engine.audit.removals import lost_removals, remove_again
from towerlog.engine.audit.told import LostRow
from towerlog.model.principal import Org
from towerlog.store.base import Store

KNOWN = "`towerlog audit --object {id}` shows what is known of it"
LOST_ORG = "organisation number {}: its row is missing, and the audit has entries of it"
LOST_REMOVAL = "{}: audit entry {} tells of the removal of organisation {}, whose row is missing"
TAKEN = (
    ", but for its name: another organisation has {!r} by now, so its id is its name until it is renamed"
    " (`PATCH /api/v1/organisations/{{org_id}}`)"
)
_MADE_ANEW = {
    "budget": "it counts what its present period has spent, holds what open reservations hold of it, and knows the runs"
    " that it has paused",
    "member": "without its password, and unknown to an identity provider: it signs in by a link"
    " (`towerlog open --org {org} --user {id}`)",
}
_GONE = {
    "key": "whoever uses it is refused; make another one: `towerlog keys create --org {org}`",
    "rule": f"make it again; {KNOWN}",
}


class Settled:
    """What has become of rows that were lost, in lines."""

    def __init__(self) -> None:
        """Nothing was."""
        self.restored: list[str] = []
        self.gone: list[str] = []
        self.shut: list[str] = []
        """How to get into organisations that have no key any more."""

    async def settle(self, store: Store, org: Org, lost: list[LostRow], clock: Clock) -> None:
        """Settles the lost rows of an organisation."""
        for one in await mend_rows(store, org, lost, clock.now_ms()):
            (self.gone if one.state is None else self.restored).append(_line(org, one))
        if any(one.type == "key" for one in lost) and await lacks_keys(store, org.org):
            self.shut.append(
                f"{org.name}: no key is left, so nobody gets in with one. Make one on this machine, while the server"
                f" runs or not: `towerlog keys create --org {quote(org.name)} --name admin --scopes admin`"
            )

    async def put_orgs_back(self, store: Store, unmended: Callable[[str], None], clock: Clock) -> None:
        """Makes organisations anew whose own row was lost."""
        for number in await store.orgs_lost():
            back = await put_org_back(store, number, clock.now_ms())
            if back is None:
                unmended(f"not mended: {LOST_ORG.format(number)}, which does not tell its beginning")
            else:
                words = f"{back.org.name}: its own row was lost, and is again as the audit tells it"
                self.restored.append(words + ("" if back.org.name == back.told_name else TAKEN.format(back.told_name)))

    async def remove_again(self, store: Store, clock: Clock) -> None:
        """Goes on with removals whose own row was lost."""
        for lost in await lost_removals(store):
            await remove_again(store, lost, clock.now_ms())
            self.restored.append(
                f"{lost.told_in.name}: the removal of the organisation {lost.removed.name} ({lost.removed.org_id}): its"
                f" row was lost, and is again as audit entry {lost.number} tells it; nobody gets in, and a running"
                " server erases what is left"
            )

    def tell(self) -> None:
        """Prints all of it on standard error."""
        for line in self.restored:
            note(f"made anew: {line}")
        for line in self.gone:
            note(f"gone: {line}")
        for line in self.shut:
            note(f"towerlog: {line}")


def _line(org: Org, mended: Mended) -> str:
    lost, state = mended.lost, mended.state
    told: dict[str, Any] = lost.told.state or {}
    called = told.get("name") or told.get("model")
    name = f"{lost.type} {lost.id}" + ("" if called is None else f" ({called})")
    fields = {"org": quote(org.name), "id": lost.id}
    if state is None:
        done = (
            "it was revoked, so nothing is to be done"
            if told.get("revoked_at")
            else _GONE.get(lost.type, _GONE["rule"])
        )
        words = f"its row was lost, and audit entry {lost.told.number} does not hold all of it; {done}"
    else:
        words = f"its row was lost, and is again as audit entry {lost.told.number} tells it"
        if state.get("removed_at") and not told.get("removed_at"):
            words += ", as a member that is removed: its name is not known, or another member has it"
        elif lost.type in _MADE_ANEW and not told.get("removed_at"):
            words += f"; {_MADE_ANEW[lost.type]}"
    return f"{org.name}: {name}: {words.format(**fields)}"
