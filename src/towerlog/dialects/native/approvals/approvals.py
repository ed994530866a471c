"""Native endpoints of the inbox: what waits for a person, in whichever dialect it was asked, and its answer."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import NULL, bounded_text, decode, given_name, invalid_field, path_uuid
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number
from towerlog.errors import NotFound
from towerlog.model.answer_link import DEFAULT_LINK_SECONDS, MAX_LINK_SECONDS, MAX_SENT_TO_CHARS, path_of
from towerlog.model.approval import (
    AnswerApproval,
    ApprovalDecision,
    ApprovalKind,
    ApprovalRef,
    ApprovalState,
    GetApproval,
    MakeAnswerLink,
    OnExpiry,
    Risk,
    parse_approval_id,
)
from towerlog.model.approval_views import ApprovalAnswered, ApprovalView, LinkMade
from towerlog.model.command import MAX_INPUT_BYTES
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.question import ListApprovals
from towerlog.model.times import format_ms, format_optional_ms

READ, CONTROL = scopes(Scope.READ), scopes(Scope.CONTROL)

KindWord = Annotated[ApprovalKind, v.said("Whether words are asked for, or a decision about tool calls.", "question")]
DecisionWord = Annotated[ApprovalDecision, v.said("What to do about the tool calls.", "approve")]
StateWord = Annotated[ApprovalState, v.said("Whether it is open, and if not, what became of it.", "open")]
OpenValue = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={})]


def _absent() -> msgspec.Raw:
    return msgspec.Raw()


class InboxQuery(CursorQuery, frozen=True):
    """Which page of which approvals."""

    schema_name: ClassVar[str] = "ApprovalQuery"
    kind: Annotated[ApprovalKind, v.said("Only of this kind.", "approval")] | None = None
    run_id: Annotated[str, v.said("Only of this run.", v.UUID, format="uuid")] | None = None


class ApprovalDetail(msgspec.Struct, frozen=True):
    """What waits for a person, or has waited."""

    schema_name: ClassVar[str] = "OpenApproval"
    approval_id: v.ApprovalId
    kind: KindWord
    state: StateWord
    run_id: v.RunId
    thread_id: v.ThreadId
    agent: v.AgentName | None
    run_status: v.RunStatus
    question_id: v.QuestionId | None
    question: Annotated[str, v.said("What is asked, as its agent wrote it; null for tool calls.", "Send it?")] | None
    context: Annotated[OpenValue, v.said("What the agent has said beside it; null for nothing.", {"to": "ada"})]
    tool_calls: Annotated[
        OpenValue, v.said("The tool calls that wait; null for none.", [{"id": "call_1", "name": "delete_page"}])
    ]
    step_index: v.StepIndex | None
    schema: Annotated[
        OpenValue, v.said("The JSON Schema that an answer has to fit; null for none.", {"type": "string"})
    ]
    risk: Annotated[Risk, v.said("How much harm a wrong answer may do, as its agent says.", "high")] | None
    asked_at: Annotated[str, v.time("When it was asked.")]
    expires_at: Annotated[str, v.time("When it expires; null for never.")] | None
    on_expiry: Annotated[OnExpiry, v.said("What happens then if nobody has answered.", "deny")]
    expired: Annotated[bool, v.said("It has expired. One that waits on can still be answered.", False)]
    answered_at: Annotated[str, v.time("When it was closed.")] | None
    answered_by: (
        Annotated[str, v.said("Who has answered; null where nobody has: it expired, or was withdrawn.", "Ada")] | None
    )
    resumed_at: Annotated[str, v.time("When its agent went on with the answer.")] | None


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision, or the content of an answer: one of the two."""

    schema_name: ClassVar[str] = "Answer"
    decision: DecisionWord | None = None
    content: Annotated[
        OpenValue, v.said("The answer: a text, or any JSON where the question has a schema.", "yes, but mention Friday")
    ] = msgspec.field(default_factory=_absent)
    reason: v.Reason | None = None


class AnswerTaken(msgspec.Struct, frozen=True):
    """The answer is stored; its agent gets it with its next reply."""

    schema_name: ClassVar[str] = "AnswerTaken"
    approval_id: v.ApprovalId
    kind: KindWord
    run_id: v.RunId
    question_id: v.QuestionId | None
    state: StateWord


class LinkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom a link is, and for how long."""

    schema_name: ClassVar[str] = "NewAnswerLink"
    sent_to: Annotated[str, v.said("Who gets it; named as the one who answered, if it is used.", "ops@example.com")]
    expires_in_seconds: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MAX_LINK_SECONDS)],
        v.said("For how long it can be used.", DEFAULT_LINK_SECONDS),
    ] = DEFAULT_LINK_SECONDS


class LinkDetail(msgspec.Struct, frozen=True):
    """A link by which whoever has it may answer this one approval, once."""

    schema_name: ClassVar[str] = "MadeAnswerLink"
    approval_id: v.ApprovalId
    path: Annotated[str, v.said("Where the page to answer on is, below the address of the server.", "/a/Zm9vYmFy")]
    url: (
        Annotated[
            str,
            v.said("The same with the server's public address; null where no setting says it.", "https://t/a/Zm9vYmFy"),
        ]
        | None
    )
    sent_to: Annotated[str, v.said("Who gets it.", "ops@example.com")]
    expires_at: Annotated[str, v.time("Until when it can be used.")]


class _Told(msgspec.Struct, frozen=True):
    """What is shown of the event that asks."""

    question: Any = None
    context: msgspec.Raw = NULL
    tool_calls: msgspec.Raw = NULL
    pending_tool_calls: msgspec.Raw = NULL
    schema: msgspec.Raw = NULL


_TOLD = msgspec.json.Decoder(_Told)
_ANSWER = msgspec.json.Decoder(AnswerBody)
_LINK = msgspec.json.Decoder(LinkBody)


def approval_of(view: ApprovalView) -> ApprovalDetail:
    """An approval as the API shows it."""
    row, run, closed = view.row, view.run, view.closed
    told = _TOLD.decode(view.data)
    is_question = row.step_index is None
    calls = told.tool_calls if is_question else told.pending_tool_calls
    return ApprovalDetail(
        approval_id=row.ref(run.run_id).approval_id,
        kind=row.kind,
        state=ApprovalState.OPEN if closed is None else closed.state,
        run_id=run.run_id,
        thread_id=run.thread_id,
        agent=run.agent if is_question else row.agent,
        run_status=run.status,
        question_id=row.seq if is_question else None,
        question=told.question if isinstance(told.question, str) else row.text,
        context=told.context,
        tool_calls=calls,
        step_index=row.step_index,
        schema=told.schema if row.terms.has_schema else NULL,
        risk=row.terms.risk,
        asked_at=format_ms(row.asked_at),
        expires_at=format_optional_ms(row.expires_at),
        on_expiry=row.terms.on_expiry,
        expired=row.expired or (closed is not None and closed.state is ApprovalState.EXPIRED),
        answered_at=None if closed is None else format_optional_ms(closed.at),
        answered_by=None if closed is None else closed.by_name,
        resumed_at=None if closed is None else format_optional_ms(closed.resumed_at),
    )


def ref_in(text: str) -> ApprovalRef:
    """What an approval's id names. Raises NotFound for a text that is none."""
    ref = parse_approval_id(text)
    if ref is None:
        raise NotFound("approval")
    return ref


def content_of(raw: msgspec.Raw) -> str:
    """An answer as text: a string as it is, any other JSON as that. Raises Invalid for a long one."""
    text = bytes(raw)
    found = decode(_TEXT, text, "content") if text[:1] == b'"' else msgspec.json.format(text, indent=-1).decode()
    if len(found.encode()) > MAX_INPUT_BYTES:
        raise invalid_field("content", f"must have at most {MAX_INPUT_BYTES} bytes")
    return found


_TEXT = msgspec.json.Decoder(str)


def _decode_list(call: Call) -> ListApprovals:
    after = read_number("approvals", call.query.get("cursor"))
    kind = call.query.get("kind")
    if kind is not None and kind not in set(ApprovalKind):
        raise invalid_field("kind", f"must be one of {', '.join(ApprovalKind)}")
    run_id = call.query.get("run_id")
    return ListApprovals(
        limit_of(call),
        after,
        None if kind is None else ApprovalKind(kind),
        None if run_id is None else path_uuid(run_id, "run"),
    )


def _decode_get(call: Call) -> GetApproval:
    return GetApproval(ref_in(call.path["approval_id"]))


def _decode_answer(call: Call) -> AnswerApproval:
    ref, body = ref_in(call.path["approval_id"]), decode(_ANSWER, call.body)
    content = bytes(body.content)
    # Beside a decision null says that there is no content; alone it is an answer, if a schema asks for that.
    has_content = content != b"" and (content != b"null" or body.decision is None)
    if (body.decision is None) is not has_content:
        raise invalid_field("decision", "give either a decision (approve or deny) or content")
    answer = content_of(body.content) if has_content else None
    is_text = not has_content or content.startswith(b'"')
    return AnswerApproval(ref, body.decision, answer, bounded_text(body.reason, "reason"), is_text=is_text)


def _decode_link(call: Call) -> MakeAnswerLink:
    ref, body = ref_in(call.path["approval_id"]), decode(_LINK, call.body)
    return MakeAnswerLink(ref, given_name(body.sent_to, "sent_to", MAX_SENT_TO_CHARS), body.expires_in_seconds * 1000)


def _encode_link(outcome: LinkMade, command: object, call: Call) -> Reply:
    link, settings = outcome.link, call.settings
    path = path_of(settings.link_secret, link)
    url = settings.public_url + path if settings.public_url else None
    detail = LinkDetail(link.ref.approval_id, path, url, link.sent_to, format_ms(link.expires_at))
    return reply_json(detail, 201)


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("approvals", outcome, approval_of)


def _encode_get(outcome: ApprovalView, command: object, call: Call) -> Reply:
    return reply_json(approval_of(outcome))


def _encode_answer(outcome: ApprovalAnswered, command: object, call: Call) -> Reply:
    ref = outcome.ref
    is_question = ref.step_index is None
    kind = ApprovalKind.QUESTION if is_question else ApprovalKind.APPROVAL
    question_id = ref.seq if is_question else None
    return reply_json(AnswerTaken(ref.approval_id, kind, ref.run_id, question_id, outcome.state))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/approvals", "list_approvals", "What waits for a person in all dialects, oldest first.", READ,
        _decode_list, _encode_list, query=InboxQuery, reply=Listing[ApprovalDetail], refuses=(errors.NotFound,),
    ),
    Endpoint(
        "GET", "/api/v1/approvals/{approval_id}", "get_approval", "An approval, and what became of it.", READ,
        _decode_get, _encode_get, reply=ApprovalDetail,
    ),
    Endpoint(
        "POST", "/api/v1/approvals/{approval_id}", "answer_approval",
        "Answer a question, or decide about tool calls; the first answer counts.", CONTROL,
        _decode_answer, _encode_answer, request=AnswerBody, reply=AnswerTaken,
        refuses=(errors.NotWaiting, errors.QuestionClosed, errors.RunNotActive, errors.Conflict),
    ),
    Endpoint(
        "POST", "/api/v1/approvals/{approval_id}/links", "create_answer_link",
        "Make a signed link by which this approval can be answered once, without a key.", CONTROL,
        _decode_link, _encode_link, request=LinkBody, reply=LinkDetail, reply_status=201,
        refuses=(errors.NotWaiting, errors.QuestionClosed),
    ),
)  # fmt: skip
"""The endpoints of the inbox."""
