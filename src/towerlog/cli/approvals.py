"""`towerlog approvals`: what waits for a person, and its answer."""

from __future__ import annotations

from itertools import islice

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import json_line, visible
from towerlog.cli.formatting import calls_in, limit_option
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say, show_fields, tell
from towerlog.cli.run_ids import full_run_id, only_one
from towerlog.cli.tables import Column, View, moment, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import Answered, Approval
from towerlog.sdk.wire.errors import ApiError

KINDS = ("question", "approval")
_ON_EXPIRY = {
    "wait": "it goes on waiting",
    "deny": "it counts as expired, and is denied",
    "cancel": "its run is cancelled",
}
MAX_ASKED_CHARS = 200
"""Of a question, or of tool calls, in a table."""
COLUMNS = (
    Column("APPROVAL ID", "id", rank=1),
    Column("KIND", rank=4),
    Column("AGENT"),
    Column("RISK", rank=3),
    Column("ASKED", "time", rank=5),
    Column("EXPIRES", "time", rank=2),
    Column("WHAT", least=32),
)


@click.group(cls=ListGroup)
def approvals() -> None:
    """What waits for a person: list, show, approve, deny and answer it."""


@approvals.command("ls")
@with_client
@click.option("--kind", type=click.Choice(KINDS), help="Only questions, or only tool calls.")
@click.option("--run", "run_id", help="Only of this run, by its id or a short one.")
@limit_option
@with_view
def list_approvals(client: Client, kind: str | None, run_id: str | None, limit: int, view: View, as_json: bool) -> None:
    """Lists what waits for a person, oldest first."""
    whole = full_run_id(client, run_id) if run_id else None
    found = list(islice(client.list_approvals(kind, whole), limit))
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(COLUMNS, [_row(one) for one in found], empty="Nothing waits for a person.", view=view),
    )


@approvals.command("show")
@with_client
@click.argument("approval")
@click.option("--utc", is_flag=True, help="Show times in UTC, as they are in a pipe.")
def show_approval(client: Client, approval: str, utc: bool, as_json: bool) -> None:
    """Shows all that is known of APPROVAL, given by its id; while it waits, the beginning of it is enough."""
    wanted = _id(client, approval)
    try:
        found = client.get_approval(wanted)
    except ApiError as error:
        if error.status not in (400, 404, 422):
            raise
        words = f"There is no approval {wanted!r}. Of one that was decided the whole id is needed."
        raise NotFound("approval", words) from None
    answer(as_json, dict(found.raw), lambda: show_fields(fields_of(found, utc)))


@approvals.command("approve")
@with_client
@click.argument("approval")
@click.option("--reason", help="The reason.")
def approve(client: Client, approval: str, reason: str | None, as_json: bool) -> None:
    """Approves the tool calls of APPROVAL, given by its id or the beginning of it."""
    _told(client.approve(_id(client, approval), reason), as_json)


@approvals.command("deny")
@with_client
@click.argument("approval")
@click.option("--reason", help="The reason.")
def deny(client: Client, approval: str, reason: str | None, as_json: bool) -> None:
    """Denies the tool calls of APPROVAL, given by its id or the beginning of it."""
    _told(client.deny(_id(client, approval), reason), as_json)


@approvals.command("answer")
@with_client
@click.argument("approval")
@click.argument("content")
def answer_question(client: Client, approval: str, content: str, as_json: bool) -> None:
    """Answers the question APPROVAL, given by its id or the beginning of it.

    CONTENT is a text; where the question has a schema, JSON that fits it.
    """
    _told(client.answer_approval(_id(client, approval), content), as_json)


@approvals.command("link")
@with_client
@click.argument("approval")
@click.option("--to", "sent_to", required=True, help="Who gets it; named as the one who answered.")
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 720), help="How long it can be used.")
def make_link(client: Client, approval: str, sent_to: str, hours: int, as_json: bool) -> None:
    """Creates a link with which APPROVAL can be answered once, without a key.

    Where TOWERLOG_PUBLIC_URL is not set, it is printed without the server's address.
    """
    made = client.create_answer_link(_id(client, approval), sent_to, hours * 3600)
    answer(as_json, dict(made.raw), lambda: say(made.url or made.path))


def _id(client: Client, given: str) -> str:
    """The open approval with this id, or the only one whose id begins with it; else what was given."""
    waiting = tuple(one.approval_id for one in client.list_approvals())
    found = tuple(one for one in waiting if one.startswith(given.lower()))
    return given if given in waiting or not found else only_one(given, found, "approval")


def _told(done: Answered, as_json: bool) -> None:
    what = "Tool calls" if done.kind == "approval" else "Question"
    words = f"{what} {visible(done.approval_id)}: {visible(done.state)}. The agent is told with its next reply."
    answer(as_json, dict(done.raw), lambda: tell(words))


def fields_of(one: Approval, utc: bool = False) -> list[tuple[str, object]]:
    """What a person has to know to decide, whole: each tool call with its arguments on a line of its own. And what was
    decided."""

    def at(text: str | None) -> str | None:
        return moment(text, utc) if text else None

    what: list[tuple[str, object]] = [("asks", one.question)]
    if one.kind == "approval":
        what = [("calls", call) for call in calls_in(one.tool_calls)]
    terms = _ON_EXPIRY.get(one.on_expiry, one.on_expiry)
    return [
        (one.kind, one.approval_id),
        ("run", one.run_id),
        ("agent", one.agent),
        ("thread", one.thread_id),
        *what,
        ("context", json_line(one.context) if one.context else None),
        ("answer", f"JSON that fits {json_line(one.schema)}" if one.schema else None),
        ("risk", one.risk),
        ("asked", at(one.asked_at)),
        ("expires", f"{at(one.expires_at)}; then {terms}" if one.expires_at else None),
        ("state", one.state),
        ("answered", at(one.answered_at)),
        ("answered by", one.answered_by),
    ]


def _row(one: Approval) -> tuple[str | None, ...]:
    text = one.question or "" if one.kind == "question" else "; ".join(calls_in(one.tool_calls))
    text = text if len(text) <= MAX_ASKED_CHARS else text[:MAX_ASKED_CHARS] + "…"
    return (one.approval_id, one.kind, one.agent, one.risk, one.asked_at, one.expires_at, text)
