"""Native endpoints of open reservations. Making one is in `budgets`."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json
from towerlog.dialects.fields import invalid_field, path_uuid
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.dialects.native.money.budgets import READ, SPENDER, Dollars
from towerlog.errors import NotFound
from towerlog.model.budget import ListReservations, ReleaseReservation, ReservationNow
from towerlog.model.outcome import Page
from towerlog.model.times import format_ms
from towerlog.model.usage import dollars_json


class ReservationsQuery(CursorQuery, frozen=True):
    """Filters; all of them apply."""

    budget_id: v.BudgetId | None = None
    run_id: v.RunId | None = None
    key_id: v.KeyId | None = None


class ReservationDetail(msgspec.Struct, frozen=True):
    """Money that is held for a run."""

    schema_name: ClassVar[str] = "OpenReservation"
    reservation_id: v.ReservationId
    run_id: v.RunId
    key_id: v.KeyId
    amount_usd: Annotated[Dollars, v.said("How much is held, in dollars.", 0.05)]
    budget_ids: Annotated[list[v.BudgetId], v.said("The budgets that hold it.")]
    expires_at: Annotated[str, v.time("When nothing is held any more, if no event settles it.")]


def reservation_of(view: ReservationNow) -> ReservationDetail:
    """A reservation as the API shows it."""
    row = view.row
    return ReservationDetail(
        reservation_id=row.reservation_id,
        run_id=view.run_id,
        key_id=row.key_id,
        amount_usd=dollars_json(row.amount_nanos),
        budget_ids=list(row.budgets),
        expires_at=format_ms(row.expires_at),
    )


def _uuid(call: Call, name: str) -> str | None:
    text = call.query.get(name)
    if not text:
        return None
    try:
        return path_uuid(text, name)
    except NotFound:
        raise invalid_field(name, "must be a UUID") from None


def _decode_list(call: Call) -> ListReservations:
    budget_id, run_id, key_id = (_uuid(call, name) for name in ("budget_id", "run_id", "key_id"))
    return ListReservations(
        limit_of(call), read_cursor("reservations", call.query.get("cursor")), budget_id, run_id, key_id
    )


def _decode_release(call: Call) -> ReleaseReservation:
    return ReleaseReservation(path_uuid(call.path["reservation_id"], "reservation"))


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("reservations", outcome, reservation_of)


def _encode_released(outcome: ReservationNow, command: object, call: Call) -> Reply:
    return reply_json(reservation_of(outcome))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/budgets/reservations", "list_reservations",
        "Open reservations, newest first; in a budget, of a run, of a key.", READ,
        _decode_list, _encode_list, query=ReservationsQuery, reply=Listing[ReservationDetail], refuses=(NotFound,),
    ),
    Endpoint(
        "DELETE", "/api/v1/budgets/reservations/{reservation_id}", "release_reservation",
        "Hold nothing any more by a reservation; without the scope `control`, by one of the key's own.", SPENDER,
        _decode_release, _encode_released, reply=ReservationDetail,
    ),
)  # fmt: skip
"""The endpoints of open reservations."""
