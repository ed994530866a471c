"""By which ways people are told of alerts, and which channels of a rule will never reach anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from towerlog.egress.outcomes import HttpAnswer, MailAccepted, Undelivered
from towerlog.model.alert import AlertRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.event import FieldWarning

NO_MAIL = "this server sends no mail: TOWERLOG_SMTP_URL is not set"


class Posts(Protocol):
    """The way out for what goes to a URL: `egress.http.Poster`."""

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, org_id: str
    ) -> HttpAnswer | Undelivered:
        """Posts; raises nothing but a cancellation."""
        ...

    def obstacle(self, url: str) -> str | None:
        """Why nothing ever gets there, as far as that is known without asking anybody."""
        ...


class Mails(Protocol):
    """The way out for mail: `egress.mail.mailer.Mailer`."""

    async def send(self, to: str, subject: str, text: str, mail_id: str, *, org_id: str) -> MailAccepted | Undelivered:
        """Sends; raises nothing but a cancellation."""
        ...


class WaysOut(Protocol):
    """Both: `egress.outside.Outside`."""

    @property
    def poster(self) -> Posts:
        """For URLs."""
        ...

    @property
    def mailer(self) -> Mails | None:
        """For mail; None where the operator has named no mail server."""
        ...


def warnings_of(ways_out: WaysOut | None, rule: AlertRule) -> list[FieldWarning]:
    """A warning for each channel of a rule by which nobody is ever told, as the settings of the server are now."""
    if ways_out is None:
        return []
    found = []
    for index, channel in enumerate(rule.channels):
        words = _obstacle(ways_out, channel)
        if words is not None:
            field = f"channels.{index}.target"
            found.append(FieldWarning(field=field, message=f"{field}: nothing will arrive there: {words}"))
    return found


def _obstacle(ways_out: WaysOut, channel: AlertChannel) -> str | None:
    match channel.type:
        case ChannelType.IN_APP:
            return None
        case ChannelType.EMAIL:
            return NO_MAIL if ways_out.mailer is None else None
        case _:
            return ways_out.poster.obstacle(channel.target)
