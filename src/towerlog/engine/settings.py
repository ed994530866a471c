"""What the engine needs of the settings."""

from __future__ import annotations

import msgspec

from towerlog.model.answer_link import LinkAddress
from towerlog.model.liveness import DEFAULT_THRESHOLDS, Thresholds
from towerlog.model.quotas import Quotas

DEFAULT_PAUSES = (10, 60, 300)
"""Seconds before each further attempt of a message."""


class EngineSettings(msgspec.Struct, frozen=True):
    """What the engine needs of the settings."""

    max_queue: int = 2048
    cancel_deadline_seconds: int = 30
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    delivery_pauses: tuple[int, ...] = DEFAULT_PAUSES
    links: LinkAddress | None = None
    """Where answer links lead; None where nobody has said: then messages have none."""
    quotas: Quotas = Quotas()
