"""Channels: the ways in which an alert rule tells people."""

from __future__ import annotations

import enum
import re
from hashlib import sha256

import msgspec

MAX_CHANNELS = 10
"""Of a rule."""
MAX_TARGET_CHARS = 2048
MAX_CHANNELS_BYTES = 24 * 1024
"""Of all channels of a rule, with what their messages are signed with, as JSON."""
SHOWN_DIGITS = 8
FINGERPRINT_CHARS = 16
OLD_SECRET_MS = 24 * 3600 * 1000
"""So long messages are signed with a secret that was replaced as well."""


class ChannelType(enum.StrEnum):
    """How people are told. `in_app`: in the list of alerts alone."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    DISCORD = "discord"
    TEAMS = "teams"
    EMAIL = "email"
    IN_APP = "in_app"


class ChannelSecret(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What messages are signed with; `until`: an older one, and when it goes."""

    text: str
    until: int | None = None


class AlertChannel(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One way in which people are told."""

    type: ChannelType
    target: str = ""
    """A URL, or an address of mail; empty for `in_app`."""
    secrets: tuple[ChannelSecret, ...] = ()
    """Of a webhook, the newest first."""

    def without_secrets(self) -> AlertChannel:
        """The same as messages keep it: what they are signed with is their rule's."""
        return AlertChannel(self.type, self.target)

    def fingerprint(self) -> str:
        """Names the channel without telling its target."""
        return sha256(f"{self.type} {self.target}".encode()).hexdigest()[:FINGERPRINT_CHARS]

    def shown(self) -> str:
        """The target for those who may not post there: of a URL the host, and digits that tell it from others."""
        if self.type in (ChannelType.EMAIL, ChannelType.IN_APP):
            return self.target
        scheme, _, rest = self.target.partition("://")
        host = re.split("[/?#]", rest, maxsplit=1)[0]
        return f"{scheme}://{host}/…{sha256(self.target.encode()).hexdigest()[:SHOWN_DIGITS]}"

    def receiver(self) -> str:
        """Who is behind it, as far as the target tells: what is slow there delays nothing that goes elsewhere."""
        host = self.target.partition("://")[2].partition("/")[0].partition("?")[0]
        return f"{self.type}:{(host or self.target).lower()}"
