"""Approvals: what an agent waits for a person to say, a question or the approval of tool calls, in whichever dialect.

`terms` come from the agent: how risky it is, until when it waits, and what happens then. What expires was answered by
nobody, and every event and reply about it says so.
"""

from __future__ import annotations

import enum
import re

import msgspec


class OnExpiry(enum.StrEnum):
    """What happens to what nobody has answered in time."""

    WAIT = "wait"
    """It is marked, and waits on."""
    DENY = "deny"
    """Its agent goes on without an answer: tool calls are rejected."""
    CANCEL = "cancel"
    """Its run is cancelled."""


class Risk(enum.StrEnum):
    """How much harm a wrong answer may do, in the agent's own judgement."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ApprovalKind(enum.StrEnum):
    """What is waited for."""

    QUESTION = "question"
    """An answer in words."""
    APPROVAL = "approval"
    """A decision about pending tool calls."""


class ApprovalDecision(enum.StrEnum):
    """What a person says about tool calls."""

    APPROVE = "approve"
    DENY = "deny"


EXPIRED = "expired"
"""What stands for the answer that nobody gave."""
MAX_EXPIRY_SECONDS = 366 * 24 * 3600
"""How far ahead an expiry may lie."""


class Terms(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an agent says about what it asks."""

    risk: Risk | None = None
    expires_in_ms: int | None = None
    """From when it is asked, by the server's clock."""
    expires_at: int | None = None
    """Or when, in wall ms; of the two the sooner counts."""
    on_expiry: OnExpiry = OnExpiry.WAIT
    has_schema: bool = False
    """The event has a JSON Schema, and answers are checked against it."""

    def due(self, asked_at: int) -> int | None:
        """When what was asked then expires, in wall ms; None for never."""
        after = None if self.expires_in_ms is None else asked_at + self.expires_in_ms
        return min((at for at in (after, self.expires_at) if at is not None), default=None)


NO_TERMS = Terms()


class OpenQuestion(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A question of the agent that nobody has answered and that it has not withdrawn."""

    question_id: int
    """The seq of its `run.waiting_for_input`."""
    asked_at: int
    text: str | None = None
    key: str | None = None
    """What its agent calls it. The same key again, from a later attempt, is the same question."""
    epoch: int = 0
    """Lease epoch of the attempt that has asked it last; 0 for a run without a worker."""
    position: int = 0
    """Of its `run.waiting_for_input` in the organisation's log."""
    told_seq: int | None = None
    """Of one that was asked anew in other words: the seq of the event that has done so last."""
    words: str = ""
    """Stands for all that a person reads before the answer; empty where the agent has named no key, and cannot ask
    again."""
    terms: Terms = NO_TERMS
    expires_at: int | None = None
    """When it expires, or has expired; None for never."""
    expired: bool = False
    """It has expired and goes on waiting."""
    first_epoch: int = 0
    """Lease epoch of the attempt that has asked first what the key stands for; 0 where nobody knows."""
    again_seq: int = 0
    """Of one that was asked again, in whichever words: the seq of the event that has done so last."""

    def asked_seq(self) -> int:
        """The event that says what is asked now."""
        return self.question_id if self.told_seq is None else self.told_seq

    def ref(self, run_id: str) -> ApprovalRef:
        """What the approval of these words is called."""
        return ApprovalRef(run_id, self.question_id, asked=self.told_seq)


def awaited(questions: tuple[OpenQuestion, ...], asking_epoch: int) -> tuple[OpenQuestion, ...]:
    """Those of the open questions whose agent waits: of the last attempt that has asked anything.

    What an earlier one has left open may be asked again, and can be answered by its id until then; but this attempt
    may have gone another way, and then nobody takes the answer.
    """
    return tuple(one for one in questions if one.epoch == asking_epoch)


class ClosedQuestion(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of a question: answered by somebody, or withdrawn."""

    question_id: int
    closed_at: int
    key: str | None = None
    """What its agent calls it."""
    by: str | None = None
    """A user id, or the name that the agent gave; None when unknown, or withdrawn."""
    expired: bool = False
    """Nobody has answered in time."""
    taken_at: int | None = None
    """When its agent acknowledged the answer."""
    withdrawn: bool = False
    """Its agent stopped waiting. With `by`: the answer had been given, but was not taken."""
    told_seq: int | None = None
    words: str = ""
    """Both as they were when it was closed, see `OpenQuestion`."""
    closed_seq: int = 0
    """Of the event that closed it: what was asked after that, nobody can have meant who answered this one."""
    epoch: int = 0
    """Lease epoch of the attempt that has asked it last."""
    first_epoch: int = 0
    """As in `OpenQuestion`."""

    def state(self) -> ApprovalState:
        """What became of it, in a word."""
        if self.expired:
            return ApprovalState.EXPIRED
        return ApprovalState.WITHDRAWN if self.withdrawn else ApprovalState.ANSWERED


class ApprovalRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is open in an organisation: a row of its inbox, folded from a run's questions and its checkpoints."""

    org: int
    run: int
    seq: int
    """Of the event that asked first: a question's id, or the seq of the checkpoint that waits."""
    position: int
    """Of that event. Lists are in this order."""
    asked_at: int
    asked_seq: int
    """The event that says what is asked now."""
    agent: str | None = None
    """Of tool calls: the agent's name."""
    step_index: int | None = None
    """Of tool calls: the checkpoint's step; None for a question."""
    text: str | None = None
    """Of a question: its beginning."""
    terms: Terms = NO_TERMS
    expires_at: int | None = None
    expired: bool = False

    @property
    def kind(self) -> ApprovalKind:
        """A question, or tool calls."""
        return ApprovalKind.QUESTION if self.step_index is None else ApprovalKind.APPROVAL

    def ref(self, run_id: str) -> ApprovalRef:
        """What it is called; `run_id`: of its run."""
        asked = None if self.asked_seq == self.seq else self.asked_seq
        return ApprovalRef(run_id, self.seq, self.step_index, asked)

    def due_at(self) -> int | None:
        """When the timer has something to do about it, wall ms."""
        return None if self.expired else self.expires_at


class ApprovalRef(msgspec.Struct, frozen=True, gc=False):
    """What an `approval_id` names: a question of a run, or the checkpoint that waits at a step."""

    run_id: str
    seq: int
    step_index: int | None = None
    asked: int | None = None
    """Of a question that was asked anew in other words: the seq of the event with the words that are meant."""

    @property
    def approval_id(self) -> str:
        """As it stands on the wire. It names one revision of a checkpoint, or the words of a question: other tool calls
        and other words are another approval, so that no answer reaches what its sender has not read."""
        asked = "" if self.asked is None else f".{self.asked}"
        place = f"q{self.seq}{asked}" if self.step_index is None else f"a{self.step_index}.{self.seq}"
        return f"{self.run_id}.{place}"

    def asked_seq(self) -> int:
        """The event with what is meant."""
        return self.seq if self.asked is None else self.asked


_REF = re.compile(
    r"(?P<run>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:q(?P<question>[1-9][0-9]{0,14})"
    r"(?:\.(?P<asked>[1-9][0-9]{0,14}))?|a(?P<step>[0-9]{1,15})\.(?P<seq>[1-9][0-9]{0,14}))"
)


def parse_approval_id(text: str) -> ApprovalRef | None:
    """What an id names; None for a text that is no such id."""
    found = _REF.fullmatch(text)
    if found is None:
        return None
    if found["question"] is not None:
        seq, asked = int(found["question"]), found["asked"]
        # One approval has one name.
        is_other = asked is not None and int(asked) <= seq
        return None if is_other else ApprovalRef(found["run"], seq, asked=None if asked is None else int(asked))
    return ApprovalRef(found["run"], int(found["seq"]), int(found["step"]))


class AnswerLink(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A signed link by which one approval may be answered once, by whoever it was sent to."""

    org: int
    org_id: str
    ref: ApprovalRef
    user_id: str
    key_id: str
    """The user and the key of whoever made it: without that key the link is worth nothing. Of one that a message of an
    alert carries, who made the rule, and no key."""
    sent_to: str
    """For whom it was made, in the maker's words: it is named as the one who answered."""
    expires_at: int
    nonce: str
    """By which the log and the audit name it. It answers nothing by itself."""
    rule_id: str = ""
    channel: str = ""
    """Of one that a message of an alert carries: the rule, and the fingerprint of its channel. Without either the link
    is worth nothing."""


class AnswerApproval(msgspec.Struct, frozen=True, gc=False):
    """Answer a question, or decide about tool calls: exactly one of `decision` and `content` is given."""

    ref: ApprovalRef
    decision: ApprovalDecision | None = None
    content: str | None = None
    reason: str | None = None
    """Of a decision about tool calls."""
    link: AnswerLink | None = None
    """The link that it came by."""
    is_text: bool = True
    """Whether `content` was sent as a text, not as other JSON: only a schema can ask for that."""


class MakeAnswerLink(msgspec.Struct, frozen=True, gc=False):
    """Make a link by which whoever has it may answer this approval, once and until it expires."""

    ref: ApprovalRef
    sent_to: str
    lifetime_ms: int


class GetApproval(msgspec.Struct, frozen=True, gc=False):
    """One of the organisation's approvals, open or not."""

    ref: ApprovalRef


class ApprovalState(enum.StrEnum):
    """What became of it."""

    OPEN = "open"
    ANSWERED = "answered"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    """Its agent has stopped waiting."""
    ENDED = "ended"
    """Its run has ended without an answer."""
    UNKNOWN = "unknown"
    """It is not open, and what became of it is no longer known."""


class ClosedApproval(msgspec.Struct, frozen=True, gc=False):
    """How an approval was closed."""

    state: ApprovalState
    at: int | None = None
    by: str | None = None
    """A user id, or a name; None for nobody, or where it is unknown."""
    by_name: str | None = None
    resumed_at: int | None = None
    """When its agent went on with it: it acknowledged the answer, or reported its next step."""
