"""What an agent may say beside a question or a wait for approval: risk, expiry, the schema of the answer.

Each dialect has the same members in the place where it has the question. All of them are details.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog.dialects import details
from towerlog.dialects.details import Time
from towerlog.dialects.fields import NULL, Warnings, unused
from towerlog.model.answer_schema import fault_of
from towerlog.model.approval import MAX_EXPIRY_SECONDS, NO_TERMS, OnExpiry, Risk, Terms

Seconds = Annotated[float, msgspec.Meta(gt=0, le=MAX_EXPIRY_SECONDS)]


class SaidTerms(msgspec.Struct, frozen=True, gc=False):
    """The members that a wait of either kind may have."""

    risk: Risk | None = None
    expires_in_seconds: Seconds | None = None
    expires_at: Time = None
    on_expiry: OnExpiry | None = None


class SaidQuestion(SaidTerms, frozen=True, gc=False):
    """Those of a question."""

    schema: msgspec.Raw = NULL


def terms_of(sent: SaidTerms, where: str, warnings: Warnings) -> Terms | None:
    """What can be used of them, None for nothing; what cannot be is named in `warnings`."""
    expires_at, _ = details.timed(sent.expires_at, f"{where}.expires_at", b"{}", warnings)
    found = Terms(
        risk=sent.risk,
        expires_in_ms=None if sent.expires_in_seconds is None else round(sent.expires_in_seconds * 1000),
        expires_at=expires_at,
        on_expiry=sent.on_expiry or OnExpiry.WAIT,
        has_schema=isinstance(sent, SaidQuestion) and _has_schema(sent.schema, f"{where}.schema", warnings),
    )
    return None if found == NO_TERMS else found


def _has_schema(raw: msgspec.Raw, field: str, warnings: Warnings) -> bool:
    text = bytes(raw)
    if text == b"null":
        return False
    fault = fault_of(text)
    if fault is not None:
        unused(warnings, field, fault)
    return fault is None
