"""A request to a URL that somebody else has chosen: the guard, one connection, one answer, one deadline.

A request goes to an address that was checked a moment before, over a connection of its own that is closed afterwards.
Nothing of the environment has a part in it (proxies, `.netrc`), no redirect is followed, no cookie is kept, nothing is
decompressed. How an answer is read is in `answers`, at what pace in `connections`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

from towerlog.ambient import Clock
from towerlog.egress.addresses import Allowed, why_forbidden
from towerlog.egress.answers import AnswerReader
from towerlog.egress.connections import OutgoingConnection, ReadingTurns, is_own
from towerlog.egress.hosts import Address, is_local_name
from towerlog.egress.lookups import Lookups
from towerlog.egress.outcomes import EgressError, EgressFailure, HttpAnswer, Undelivered, attempted
from towerlog.egress.targets import BadTarget, Target, read_url
from towerlog.egress.trust import Trust

POST_SECONDS = 10.0
"""For all of it: look-up, connection, TLS, sending, answer."""
MAX_ANSWER_BYTES = 64 * 1024
"""Read of an answer, its head included; what is more is left unread."""
MAX_CONTENT_BYTES = 1024 * 1024
"""Of a body that is sent."""
MAX_HEADERS = 32
USER_AGENT = "towerlog"

_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?", re.ASCII)
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "user-agent", "accept-encoding", "expect", "upgrade"}
)
"""Headers of the transport's own, which a caller cannot set."""
_NETWORK = "only what TOWERLOG_EGRESS_ALLOW lists is let through besides public addresses"


class Poster:
    """The way out for everything that goes to a URL. One for a process; used by the thread of its event loop."""

    def __init__(self, clock: Clock, allowed: Allowed, trust: Trust, lookups: Lookups, turns: ReadingTurns) -> None:
        """`allowed` is let through by the guard; `trust` says which certificates are trusted; `turns` are those of
        all that is read from outside."""
        self._clock = clock
        self._allowed = allowed
        self._trust = trust
        self._lookups = lookups
        self._turns = turns

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, org_id: str
    ) -> HttpAnswer | Undelivered:
        """Posts `content` to `url` on behalf of an organisation; both are what its people wrote, and are checked here.

        Returns within POST_SECONDS and raises nothing but a cancellation. Once the status line is there it is an
        answer, also when the rest of it does not come: `HttpAnswer.is_whole` says which.
        """
        return await self._sent("POST", url, content, headers, org_id)

    async def get(self, url: str, headers: Mapping[str, str], *, org_id: str) -> HttpAnswer | Undelivered:
        """Gets `url`, as `post` posts to one."""
        return await self._sent("GET", url, b"", headers, org_id)

    def obstacle(self, url: str) -> str | None:
        """Why nothing ever gets there, in the words of `Undelivered`; None where that takes a look-up of its host."""
        try:
            host = read_url(url).host
            if isinstance(host, str):
                self._check_name(host)
            else:
                self._passed((host,))
        except (BadTarget, EgressError) as error:
            return str(error)
        return None

    async def _sent(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], org_id: str
    ) -> HttpAnswer | Undelivered:
        answer = AnswerReader()
        work = self._exchange(method, url, content, headers, org_id, answer)
        failed = await attempted(work, self._clock, POST_SECONDS, lambda: f"no answer within {POST_SECONDS:g} seconds")
        if answer.status is None:
            return failed
        return HttpAnswer(answer.status, bytes(answer.body), answer.is_whole, failed.duration_ms, answer.retry_after)

    async def _exchange(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], org_id: str, answer: AnswerReader
    ) -> None:
        """Raises EgressError; what has come until then is in `answer`."""
        _check_message(content, headers)
        try:
            target = read_url(url)
        except BadTarget as error:
            raise EgressError(EgressFailure.REFUSED_HERE, str(error)) from None
        addresses = await self._checked(target, org_id)
        connection = OutgoingConnection(self._turns, MAX_ANSWER_BYTES)
        try:
            await connection.open(addresses, target.port)
            if target.scheme == "https":
                await connection.start_tls(await self._tls(), target.name)
            await connection.send(_request(method, target, content, headers))
            while not answer.is_done:
                answer.take(await connection.read())
        finally:
            await connection.close()

    async def _tls(self) -> ssl.SSLContext:
        context = await self._trust.context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _checked(self, target: Target, org_id: str) -> tuple[Address, ...]:
        """The addresses of a host that may be connected to: all it has, or EgressError."""
        host, allowed = target.host, self._allowed
        if not isinstance(host, str):
            return self._passed((host,))
        self._check_name(host)
        found = await self._lookups.find(host, target.port, org_id)
        return found if host in allowed.names else self._passed(found)

    def _check_name(self, name: str) -> None:
        """Raises EgressError for a name that is not looked up."""
        if name not in self._allowed.names and is_local_name(name) and not self._allowed.networks:
            raise EgressError(EgressFailure.REFUSED_HERE, f"the host's name is one of an own network: {_NETWORK}")

    def _passed(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """The same addresses. Raises EgressError if one of them is forbidden: an answer of both kinds is a trap."""
        for address in addresses:
            if self._allowed.has(address):
                continue
            reason = why_forbidden(address) or ("this machine's own" if is_own(address) else None)
            if reason is not None:
                words = f"the host's address is not allowed ({reason}): {_NETWORK}"
                raise EgressError(EgressFailure.FORBIDDEN_ADDRESS, words)
        return addresses


def _request(method: str, target: Target, content: bytes, headers: Mapping[str, str]) -> bytes:
    """All of a request, whose parts were checked."""
    sent = {
        "Host": target.authority,
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    if method == "POST":
        sent["Content-Length"] = str(len(content))
    lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + content


def _check_message(content: bytes, headers: Mapping[str, str]) -> None:
    """Raises EgressError for a message that is not sent."""
    if len(content) > MAX_CONTENT_BYTES:
        raise EgressError(EgressFailure.REFUSED_HERE, f"the body has more than {MAX_CONTENT_BYTES} bytes")
    if not headers_fit(headers):
        raise EgressError(EgressFailure.REFUSED_HERE, "a header is not one that can be sent")


def headers_fit(headers: Mapping[str, str]) -> bool:
    """Whether these can be sent: few, visible characters alone, and none of the transport's own."""
    return len(headers) <= MAX_HEADERS and all(
        _TOKEN.fullmatch(name) and name.lower() not in _OWN_HEADERS and _VALUE.fullmatch(value)
        for name, value in headers.items()
    )
