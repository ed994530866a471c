"""The ways out, put together from the texts of the settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from towerlog.ambient import Clock
from towerlog.egress.addresses import parse_allowed
from towerlog.egress.collector import Collector, read_collector, read_headers
from towerlog.egress.connections import ReadingTurns
from towerlog.egress.http import Poster
from towerlog.egress.lookups import Lookups, Resolve, resolve_by_system
from towerlog.egress.mail.mailboxes import parse_mail_server
from towerlog.egress.mail.mailer import Mailer
from towerlog.egress.targets import read_url
from towerlog.egress.trust import Trust


class Outside:
    """What reaches the world outside; nothing else in the server does."""

    def __init__(
        self, poster: Poster, mailer: Mailer | None, to_provider: Poster, collector: Collector | None = None
    ) -> None:
        """`mailer` is None where the operator has named no mail server, `collector` where ended runs are forwarded
        nowhere. `to_provider`: what goes to the identity provider. The hosts of both are let through by being named."""
        self.poster = poster
        self.mailer = mailer
        self.to_provider = to_provider
        self.collector = collector


def open_outside(
    clock: Clock,
    *,
    egress_allow: str = "",
    smtp_url: str = "",
    oidc_issuer: str = "",
    forward_otlp_url: str = "",
    forward_otlp_headers: str = "",
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    resolve: Resolve = resolve_by_system,
) -> Outside:
    """The ways out. Raises ValueError naming the setting that is wrong; connects to nothing.

    `trust` makes the contexts of TLS, which say what certificates are trusted: by default what the machine trusts.
    """
    with _named("egress_allow"):
        allowed = parse_allowed(egress_allow)
    with _named("smtp_url"):
        server = parse_mail_server(smtp_url) if smtp_url else None
    with _named("oidc_issuer"):
        of_provider = parse_allowed(f"{egress_allow},{read_url(oidc_issuer).name if oidc_issuer else ''}")
    lookups, turns = Lookups(resolve), ReadingTurns()
    collector = None
    if forward_otlp_url:
        with _named("forward_otlp_url"):
            of_collector = parse_allowed(f"{egress_allow},{read_collector(forward_otlp_url).name}")
        with _named("forward_otlp_headers"):
            headers = read_headers(forward_otlp_headers) if forward_otlp_headers else {}
        collector = Collector(Poster(clock, of_collector, Trust(trust), lookups, turns), forward_otlp_url, headers)
    mailer = Mailer(clock, server, Trust(trust), lookups) if server is not None else None
    to_provider = Poster(clock, of_provider, Trust(trust), lookups, turns)
    return Outside(Poster(clock, allowed, Trust(trust), lookups, turns), mailer, to_provider, collector)


@contextmanager
def _named(setting: str) -> Iterator[None]:
    """Says in a ValueError which setting is wrong."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
