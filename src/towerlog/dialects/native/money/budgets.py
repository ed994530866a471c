"""Native endpoints of budgets and of reservations."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.asked.scopes import scope_members
from towerlog.dialects.base import MAX_ID_CHARS, Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import cost_nanos_of, decode, given_name, invalid_field, path_uuid, text_id
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number
from towerlog.errors import NotFound
from towerlog.model.budget import (
    DEFAULT_HOLD_SECONDS,
    DEFAULT_WARN_AT,
    MAX_HOLD_SECONDS,
    BudgetAction,
    BudgetNow,
    BudgetScope,
    BudgetState,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
    Period,
    ReserveBudget,
    Reserved,
)
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import dollars_json

READ, CONTROL = scopes(Scope.READ), scopes(Scope.CONTROL)
SPENDER = scopes(Scope.INGEST, Scope.WORKER, Scope.CONTROL)

Dollars = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "number", "minimum": 0})]
MoreDollars = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "number", "exclusiveMinimum": 0})]
Amount = Annotated[MoreDollars, v.said("How much may be spent in a period, in dollars; more than 0.", 25)]
Name = Annotated[str, v.said("A name for people.", "writers")]
Action = Annotated[
    BudgetAction, v.said("What is asked of the open runs in its scope once nothing is left of it.", "pause")
]
PeriodWord = Annotated[Period, v.said("How long the amount is for; hours, days and months are in UTC.", "day")]
WarnAt = Annotated[
    Annotated[float, msgspec.Meta(gt=0, le=1)], v.said("The fraction of the amount from which on it warns.", 0.8)
]

DryRun = Annotated[
    bool, v.said("Only tell how the budget would be, such as whether it is used up already; nothing changes.", False)
]


class ScopeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose money is counted: exactly one of these."""

    schema_name: ClassVar[str] = "BudgetScope"
    example: ClassVar[dict[str, object]] = {"agent": "writer"}
    organisation: Annotated[bool, v.said("All that the organisation spends.", True)] = False
    agent: Annotated[str, v.said("What the agent of this name spends, in whichever run.", "writer")] | UnsetType = UNSET
    thread_id: Annotated[str, v.said("What the runs of this thread spend.", "towers")] | UnsetType = UNSET
    run_id: Annotated[str, v.said("What this run and all runs below it spend.", v.UUID, format="uuid")] | UnsetType = (
        UNSET
    )


class NewBudgetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A budget to make."""

    schema_name: ClassVar[str] = "NewBudget"
    name: Name
    scope: Annotated[ScopeBody, v.said("Whose money it counts.")]
    amount_usd: Amount
    period: PeriodWord = Period.TOTAL
    action: Action = BudgetAction.WARN
    warn_at: WarnAt = DEFAULT_WARN_AT
    dry_run: DryRun = False


class BudgetChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a budget; what is left out stays."""

    name: Name | UnsetType = UNSET
    amount_usd: Amount | UnsetType = UNSET
    period: PeriodWord | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    warn_at: WarnAt | UnsetType = UNSET
    dry_run: DryRun = False


class BudgetDetail(msgspec.Struct, frozen=True):
    """A budget in its present period."""

    schema_name: ClassVar[str] = "Budget"
    budget_id: v.BudgetId
    name: Name
    scope: Annotated[ScopeBody, v.said("Whose money it counts.")]
    amount_usd: Amount
    period: PeriodWord
    action: Action
    warn_at: WarnAt
    spent_usd: Annotated[
        msgspec.Raw,
        v.said(
            "What was spent in this period, in dollars; null where that is too much.", 21.5, type=["number", "null"]
        ),
    ]
    reserved_usd: Annotated[
        Dollars,
        v.said("What open reservations hold, and what stays held for calls without a price, in dollars.", 0.05),
    ]
    unpriced_calls: Annotated[int, v.said("Calls of this period whose cost nobody knows: it is in no figure.", 0)]
    state: Annotated[
        BudgetState,
        v.said("`warning` past `warn_at` of the amount, `exceeded` once nothing is left of it.", "warning"),
    ]
    resets_at: Annotated[str, v.time("When the next period begins; null for `total`.")] | None
    created_at: Annotated[str, v.time("When it was made.")]
    spent_usd_per_hour: Annotated[
        msgspec.Raw, v.said("How fast it is spent; null where that was not looked at.", 1.25, type=["number", "null"])
    ]
    ends_at: (
        Annotated[str, v.time("When nothing will be left of it at this pace; null where its period ends before that.")]
        | None
    )


class ReserveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money that a run wants to spend."""

    schema_name: ClassVar[str] = "Reservation"
    run_id: Annotated[str, v.said("The run, or its client's own name of it (`run_key`, `sdk_run_id`).", v.UUID)]
    amount_usd: Annotated[MoreDollars, v.said("How much to hold, in dollars; more than 0.", 0.05)]
    ttl_seconds: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MAX_HOLD_SECONDS)],
        v.said("How long it is held if no event settles it.", DEFAULT_HOLD_SECONDS),
    ] = DEFAULT_HOLD_SECONDS
    agent: Annotated[str, v.said("Which agent will spend it; the run's own if left out.", "writer")] | None = None


class ReservedDetail(msgspec.Struct, frozen=True):
    """Whether the money is held."""

    schema_name: ClassVar[str] = "Reserved"
    granted: Annotated[bool, v.said("Whether all budgets of the run have so much left.", True)]
    reservation_id: (
        Annotated[str, v.said("To be named by the `model.call` that tells the cost.", v.UUID, format="uuid")] | None
    )
    refused_by: Annotated[str, v.said("The budget that has less than that left.", v.UUID, format="uuid")] | None


_BUDGET_BODY = msgspec.json.Decoder(NewBudgetBody)
_CHANGE = msgspec.json.Decoder(BudgetChange)
_RESERVE = msgspec.json.Decoder(ReserveBody)


def budget_of(view: BudgetNow) -> BudgetDetail:
    """A budget as the API shows it."""
    row, scope = view.row, view.row.scope
    return BudgetDetail(
        budget_id=row.budget_id,
        name=row.name,
        scope=ScopeBody(scope.organisation, scope.agent or UNSET, scope.thread_id or UNSET, scope.run_id or UNSET),
        amount_usd=dollars_json(row.amount_nanos),
        period=row.period,
        action=row.action,
        warn_at=row.warn_at,
        spent_usd=dollars_json(row.spent_nanos),
        reserved_usd=dollars_json(row.held_nanos()),
        unpriced_calls=row.unpriced_calls,
        state=row.state,
        resets_at=format_optional_ms(row.resets_at()),
        created_at=format_ms(row.created_at),
        spent_usd_per_hour=dollars_json(None if view.pace is None else view.pace.nanos_per_hour),
        ends_at=None if view.pace is None else format_optional_ms(view.pace.ends_at),
    )


def _amount(raw: msgspec.Raw, field: str = "amount_usd") -> int:
    nanos = cost_nanos_of(raw, field)
    if not nanos:
        raise invalid_field(field, "must be more than 0")
    return nanos


def _scope(body: ScopeBody) -> BudgetScope:
    named = scope_members(body)
    if len(named) + body.organisation != 1:
        raise invalid_field("scope", "must have exactly one of organisation (true), agent, thread_id, run_id")
    if "agent" in named:
        return BudgetScope(agent=agent_asked(named["agent"], "scope.agent"))
    if "thread_id" in named:
        return BudgetScope(thread_id=text_id(named["thread_id"], "scope.thread_id", MAX_ID_CHARS))
    if "run_id" not in named:
        return BudgetScope(organisation=True)
    try:
        return BudgetScope(run_id=path_uuid(named["run_id"], "run"))
    except NotFound:
        raise invalid_field("scope.run_id", "must be a UUID") from None


def _decode_create(call: Call) -> CreateBudget:
    body = decode(_BUDGET_BODY, call.body)
    amount = _amount(body.amount_usd)
    return CreateBudget(
        given_name(body.name, "name"),
        _scope(body.scope),
        amount,
        body.period,
        body.action,
        body.warn_at,
        dry_run=body.dry_run,
    )


def _decode_change(call: Call) -> ChangeBudget:
    budget_id = path_uuid(call.path["budget_id"], "budget")
    body = decode(_CHANGE, call.body)
    return ChangeBudget(
        budget_id,
        name=None if body.name is UNSET else given_name(body.name, "name"),
        amount_nanos=None if body.amount_usd is UNSET else _amount(body.amount_usd),
        period=None if body.period is UNSET else body.period,
        action=None if body.action is UNSET else body.action,
        warn_at=None if body.warn_at is UNSET else body.warn_at,
        dry_run=body.dry_run,
    )


def _decode_list(call: Call) -> ListBudgets:
    return ListBudgets(limit_of(call), read_number("budgets", call.query.get("cursor")) or None)


def _decode_get(call: Call) -> GetBudget:
    return GetBudget(path_uuid(call.path["budget_id"], "budget"))


def _decode_delete(call: Call) -> DeleteBudget:
    return DeleteBudget(path_uuid(call.path["budget_id"], "budget"))


def _decode_reserve(call: Call) -> ReserveBudget:
    body = decode(_RESERVE, call.body)
    run_id = text_id(body.run_id, "run_id", MAX_ID_CHARS)
    agent = agent_asked(body.agent, "agent")
    return ReserveBudget(run_id, _amount(body.amount_usd), body.ttl_seconds * 1000, agent)


def _encode_budget(outcome: BudgetNow, command: object, call: Call) -> Reply:
    return reply_json(budget_of(outcome), 201 if outcome.created else 200)


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("budgets", outcome, budget_of)


def _encode_reserved(outcome: Reserved, command: object, call: Call) -> Reply:
    granted = outcome.reservation_id is not None
    return reply_json(ReservedDetail(granted, outcome.reservation_id, outcome.refused_by))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/budgets", "list_budgets", "Budgets, newest first.", READ,
        _decode_list, _encode_list, query=CursorQuery, reply=Listing[BudgetDetail],
    ),
    Endpoint(
        "POST", "/api/v1/budgets", "create_budget", "Make a budget; it begins with what its period has spent.",
        CONTROL, _decode_create, _encode_budget, request=NewBudgetBody, reply=BudgetDetail, reply_status=201,
        refuses=(errors.Conflict,),
    ),
    Endpoint(
        "POST", "/api/v1/budgets/reserve", "reserve_budget",
        "Hold money for a run in all budgets that count what it spends, or in none.", SPENDER,
        _decode_reserve, _encode_reserved, request=ReserveBody, reply=ReservedDetail,
        refuses=(errors.NotFound, errors.RunNotActive, errors.Conflict),
    ),
    Endpoint(
        "GET", "/api/v1/budgets/{budget_id}", "get_budget", "A budget in its present period, and its pace.", READ,
        _decode_get, _encode_budget, reply=BudgetDetail,
    ),
    Endpoint(
        "PATCH", "/api/v1/budgets/{budget_id}", "change_budget",
        "Change a budget; one that has money again lets the runs go on that it paused.", CONTROL,
        _decode_change, _encode_budget, request=BudgetChange, reply=BudgetDetail,
    ),
    Endpoint(
        "DELETE", "/api/v1/budgets/{budget_id}", "delete_budget",
        "Delete a budget; the runs that it paused go on.", CONTROL,
        _decode_delete, _encode_budget, reply=BudgetDetail,
    ),
)  # fmt: skip
"""The endpoints of budgets."""
