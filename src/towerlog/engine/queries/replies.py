"""Replies to commands that have been committed: what lies beside the rows that a commit has left is read here.

A reply may show something newer than its own commit, never anything older: the readers see what is committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.alerts.ways_out import warnings_of
from towerlog.engine.commit.replies import OutcomeIds, results_of
from towerlog.engine.control.holders import lane_view
from towerlog.engine.control.rights import told_key
from towerlog.engine.control.run_request import request_of
from towerlog.engine.control.told_texts import stored_texts
from towerlog.engine.queries.checkpoints import latest_state
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.views import checkpoint_view, messages_of, of_checkpoint
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.alert import AlertNow, RuleNow
from towerlog.model.approval import ApprovalState, parse_approval_id
from towerlog.model.approval_views import ApprovalAnswered, LinkMade
from towerlog.model.budget import BudgetNow, ReservationNow, Reserved
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.delivery import DeliveryNow, Redelivered
from towerlog.model.event import Refusal, sound
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.member import MemberNow, SessionEnded, SessionsEnded, SignInLink, SignInLinkEnded, SignInLinkMade
from towerlog.model.pending import Pending
from towerlog.model.persona import split_persona_id
from towerlog.model.price import PriceView
from towerlog.model.principal import Principal, User
from towerlog.model.question import LatestCheckpoint
from towerlog.model.retention import RetentionNow, RetentionPolicy
from towerlog.model.run import RunRow
from towerlog.store.base import Store


class _Named(NamedTuple):
    """An outcome that is one row of an organisation's, or is made of one."""

    find: Callable[[Store, int, str], Awaitable[Any]]
    noun: str
    wrap: Callable[[Any, OutcomeIds], o.Placed]


async def _member(store: Store, org: int, user_id: str) -> User | None:
    return (await store.users(org, [user_id])).get(user_id)


async def _policy(store: Store, org: int, kind: str) -> RetentionPolicy | None:
    return next((row for row in await store.policies_of(org) if row.kind.value == kind), None)


async def _key(store: Store, org: int, key_id: str) -> Key | None:
    return await store.key_by_id(org, key_id)


def _told(outcome: Callable[[Any, bool], o.Placed]) -> Callable[[Any, OutcomeIds], o.Placed]:
    """An outcome that is a row, and whether the command made it."""
    return lambda row, ids: outcome(row, ids.created)


_NAMED: dict[type, _Named] = {
    Key: _Named(_key, "key", lambda row, _: row),
    o.KeyMinted: _Named(_key, "key", lambda row, _: o.KeyMinted(row, "")),  # its text is in no reply ever again
    MemberNow: _Named(_member, "member", _told(MemberNow)),
    o.ThreadView: _Named(lambda store, org, name: store.thread(org, name), "thread", _told(o.ThreadView)),
    o.AgentView: _Named(lambda store, org, name: store.agent(org, name), "agent", _told(o.AgentView)),
    o.PersonaView: _Named(
        lambda store, org, name: store.persona(org, *split_persona_id(name)), "persona", _told(o.PersonaView)
    ),
    o.RouteView: _Named(lambda store, org, name: store.route(org, name), "route", _told(o.RouteView)),
    BudgetNow: _Named(lambda store, org, name: store.budget(org, name), "budget", _told(BudgetNow)),
    PriceView: _Named(lambda store, org, name: store.price(org, name), "price", _told(PriceView)),
    RetentionNow: _Named(_policy, "retention policy", _told(RetentionNow)),
    RuleNow: _Named(lambda store, org, name: store.alert_rule(org, name), "rule", _told(RuleNow)),
    AlertNow: _Named(lambda store, org, name: store.alert(org, name), "alert", lambda row, _: AlertNow(row)),
    DeliveryNow: _Named(
        lambda store, org, name: store.delivery(org, name), "delivery", lambda row, _: DeliveryNow(row)
    ),
}


class Replies:
    """Makes the answer of what was placed; or again, of its ids."""

    def __init__(self, store: Store, reads: Reads) -> None:
        """`reads` answer the same questions when people ask them."""
        self._store = store
        self._reads = reads
        self._again: dict[type, Callable[[Principal, OutcomeIds], Awaitable[o.Placed]]] = {
            o.Appended: self._appended,
            o.RunCreated: self._run_created,
            o.RunChanged: self._run_changed,
            o.Steered: self._steered,
            o.Begun: self._begun,
            o.Taken: self._taken,
            o.NothingToClaim: self._nothing,
            o.Delivered: self._delivered,
            o.Reported: self._reported,
            o.Decided: self._decided,
            ApprovalAnswered: self._answered,
            LinkMade: self._link_made,
            Reserved: self._reserved,
            ReservationNow: self._released,
            Redelivered: self._redelivered,
            SignInLinkMade: self._sign_in_link,
            SignInLinkEnded: self._sign_in_link_ended,
            SessionEnded: self._session_ended,
            SessionsEnded: self._sessions_ended,
        }
        self.kinds = {kind.__name__: kind for kind in (*self._again, *_NAMED)}
        """Outcomes that can be made again, by the name under which their ids are kept."""

    async def complete(self, principal: Principal, placed: o.Placed) -> o.Outcome:
        """The whole answer. What was only appended or reported is whole already: it waits for no reader."""
        match placed:
            case o.Steered(row) | o.Begun(row):
                return await self._reads.view_of(principal, row)
            case o.Taken(row, lane):
                return await self._claimed(principal, row, lane)
            case RuleNow(rule):
                return msgspec.structs.replace(placed, warnings=warnings_of(self._reads.ways_out, rule))
            case _:
                return placed

    async def again(self, principal: Principal, ids: OutcomeIds) -> o.Outcome:
        """The answer of a command that was carried out before, as far as what it is about is still there."""
        kind = self.kinds[ids.kind]
        placed = await (self._named(principal, kind, ids) if kind in _NAMED else self._again[kind](principal, ids))
        return await self.complete(principal, placed)

    async def _named(self, principal: Principal, kind: type, ids: OutcomeIds) -> o.Placed:
        """What is one row of the organisation's, found by its own id."""
        find, noun, wrap = _NAMED[kind]
        found = await find(self._store, principal.org, ids.name)
        if found is None:
            raise NotFound(noun)
        return wrap(found, ids)

    async def _claimed(self, principal: Principal, row: RunRow, lane: Lane) -> o.Claimed:
        """A claim with all that its worker needs."""
        store, org = self._store, row.org
        agents = await store.agents_named(org, [row.agent or DEFAULT_AGENT])
        lane = lane.on_wall(self._reads.serving.walls())
        view = lane_view(principal, row, lane, agents.get(row.agent or DEFAULT_AGENT))
        request = request_of(sound((await store.events_at(org, row.run, [1])).get(1), row.run_id))
        persona = None if row.persona_id is None else await store.persona(org, *split_persona_id(row.persona_id))
        route = None if row.route_id is None else await store.route(org, row.route_id)
        state = await self._state(row)
        text = None if request is None else request.input_text()
        earlier = await self._thread_history(row) if state is None else []
        return o.Claimed(view, lane, text, state, persona, route, earlier)

    async def _state(self, row: RunRow) -> CheckpointView | None:
        """The state to go on from."""
        latest = await self._store.checkpoint_latest_of_run(row.org, row.run)
        return (
            None if latest is None or latest.initial else await checkpoint_view(self._store, row, latest, resume=True)
        )

    async def _thread_history(self, row: RunRow) -> list[bytes]:
        """What the thread's earlier runs left. Its parent's conversation does not belong to a child."""
        if not row.thread_id or row.parent_key is not None:
            return []
        found = await latest_state(self._store, row.org, LatestCheckpoint(row.thread_id))
        if found is None:
            return []
        run, latest = found
        with of_checkpoint(latest, run.run_id):
            return await messages_of(self._store, latest, latest.resume_state())

    async def _row(self, principal: Principal, ids: OutcomeIds) -> RunRow:
        number = ids.run or 0
        row = (await self._store.runs_by_number(principal.org, [number])).get(number)
        if row is None:
            raise NotFound("run")
        return row

    async def _held(self, principal: Principal, ids: OutcomeIds) -> tuple[RunRow, Lane]:
        row = await self._row(principal, ids)
        lane = await self._store.lane(principal.org, row.run)
        if lane is None:
            raise NotFound("run")
        return row, lane

    async def _appended(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        rows = await self._store.runs_by_number(principal.org, ids.polled_runs) if ids.polled_runs else {}
        pairs = zip(ids.polled, ids.polled_runs, strict=True)
        polled = tuple([o.PolledRun(ref, await self._shown(principal, rows[n])) for ref, n in pairs if n in rows])
        # Whether the first reply arrived is not known, so nothing of this one may be held back.
        results = await self._results(principal, ids)
        return o.Appended(results, polled, any(one.row.pending for one in polled), o.has_warnings(results))

    async def _shown(self, principal: Principal, row: RunRow) -> RunRow:
        """A run as it is by now: its commands may be another key's since the first reply."""
        lane = await self._store.lane(row.org, row.run) if row.has_lane else None
        is_told = told_key(row, lane) == principal.key_id
        return await self._with_commands(row) if is_told else msgspec.structs.replace(row, pending=())

    async def _with_commands(self, row: RunRow) -> RunRow:
        """A run with its commands as its agent is told them."""
        return msgspec.structs.replace(row, pending=await stored_texts(self._store, row, row.pending))

    async def _results(self, principal: Principal, ids: OutcomeIds) -> list[o.Stored | Refusal]:
        """The results of a batch with the commands of their runs as they were told; each run is read once."""
        results = results_of(ids)
        texts: dict[tuple[str, int], Pending] = {}
        for result in results:
            if not isinstance(result, o.Stored):
                continue
            lacking = [one for one in result.commands if (result.run_id, one.command_id) not in texts]
            if any(one.is_beside() for one in lacking):
                row = await self._reads.run_of(principal, result.run_id)
                lacking = list(await stored_texts(self._store, row, lacking))
            texts |= {(result.run_id, one.command_id): one for one in lacking}
        return [
            msgspec.structs.replace(one, commands=tuple([texts[one.run_id, it.command_id] for it in one.commands]))
            if isinstance(one, o.Stored) and one.commands
            else one
            for one in results
        ]

    async def _run_created(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        return o.RunCreated(ids.name, ids.trace_id)

    async def _run_changed(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        return o.RunChanged(await self._row(principal, ids), ids.created)

    async def _steered(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        return o.Steered(await self._row(principal, ids))

    async def _begun(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        return o.Begun(await self._row(principal, ids))

    async def _taken(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        row, lane = await self._held(principal, ids)
        return o.Taken(await self._with_commands(row), lane)

    async def _nothing(self, _principal: Principal, _ids: OutcomeIds) -> o.Placed:
        return o.NothingToClaim()

    async def _delivered(self, _principal: Principal, _ids: OutcomeIds) -> o.Placed:
        return o.Delivered({})

    async def _reported(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        row, lane = await self._held(principal, ids)
        row = await self._with_commands(row)
        agents = await self._store.agents_named(row.org, [row.agent or DEFAULT_AGENT])
        lane = lane.on_wall(self._reads.serving.walls())
        view = lane_view(principal, row, lane, agents.get(row.agent or DEFAULT_AGENT))
        results = results_of(ids)
        return o.Reported(view, lane, results, bool(row.pending), o.has_warnings(results))

    async def _decided(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        return o.Decided(ids.trace_id, ids.step_index, ids.status)

    async def _answered(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        ref = parse_approval_id(ids.name)
        if ref is None:
            raise NotFound("approval")
        return ApprovalAnswered(ref, ApprovalState(ids.status))

    async def _link_made(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        if ids.link is None:
            raise NotFound("link")
        return LinkMade(ids.link)

    async def _session_ended(self, _principal: Principal, _ids: OutcomeIds) -> o.Placed:
        """It is gone."""
        raise NotFound("session")

    async def _sessions_ended(self, _principal: Principal, _ids: OutcomeIds) -> o.Placed:
        return SessionsEnded()

    async def _sign_in_link(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        """Its token is in no reply ever again."""
        return SignInLinkMade(await self._link(principal, ids), "")

    async def _sign_in_link_ended(self, principal: Principal, ids: OutcomeIds) -> o.Placed:
        return SignInLinkEnded(await self._link(principal, ids))

    async def _link(self, principal: Principal, ids: OutcomeIds) -> SignInLink:
        found = await self._store.link_by_digest(bytes.fromhex(ids.name))
        if found is None or found.link.org != principal.org:
            raise NotFound("link")
        return found.link

    async def _reserved(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        return Reserved(ids.name or None, ids.status or None)

    async def _released(self, _principal: Principal, _ids: OutcomeIds) -> o.Placed:
        """It is gone."""
        raise NotFound("reservation")

    async def _redelivered(self, _principal: Principal, ids: OutcomeIds) -> o.Placed:
        return Redelivered(ids.step_index, ids.run)
