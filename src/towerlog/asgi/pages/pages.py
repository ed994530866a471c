"""The operator's pages: is it alive, is it ready, what does it count, what can be asked of it, and by whom.

HTML is static and its script a file of its own: nothing from elsewhere, nothing inline, nothing of what was sent in.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import msgspec

from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.pages.metrics import Metrics
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.replies import Headers
from towerlog.asgi.routes import PageRoute, PageVisit, RouteTable
from towerlog.dialects.base import JSON, Endpoint, Reply, reply_json
from towerlog.dialects.native.keys import ANYBODY
from towerlog.errors import Forbidden, StorageFailed
from towerlog.model.principal import Scope

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
SECURITY_HEADERS: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NOT_READY_RETRY = (b"retry-after", b"1")
_NO_STORE = (b"cache-control", b"no-store")


class Phase(enum.StrEnum):
    """Where the server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Health(msgspec.Struct, frozen=True):
    """One word."""

    status: str


class WhoAmI(msgspec.Struct, frozen=True):
    """Whom a key speaks for, and what it may do."""

    org_id: str
    user_id: str
    key_id: str
    scopes: list[str]


class Pages:
    """The pages and what they look at."""

    def __init__(self, *, metrics_public: bool) -> None:
        """Until `attach`, only the health pages have something to say."""
        self.phase = Phase.STARTING
        self._metrics_public = metrics_public
        self._document = b""
        self._table: RouteTable | None = None
        self._auth: Authenticator | None = None
        self._metrics: Metrics | None = None
        self._ping: Callable[[], Awaitable[None]] | None = None

    def attach(
        self, table: RouteTable, auth: Authenticator, metrics: Metrics, ping: Callable[[], Awaitable[None]]
    ) -> None:
        """Tells the pages what they are about. `ping` raises StorageFailed unless the store answers."""
        self._table = table
        self._auth, self._metrics, self._ping = auth, metrics, ping

    def routes(self) -> tuple[PageRoute, ...]:
        """All pages."""
        health = (
            PageRoute("GET", "/healthz", "health", "Is it alive?", self.health, public=True, reply=Health),
            PageRoute("GET", "/readyz", "ready", "Is it ready for work?", self.ready, public=True, reply=Health),
            PageRoute("GET", "/metrics", "metrics", "What it counts.", self.metrics, public=True, reply_type=TEXT),
        )
        words = (
            PageRoute("GET", "/openapi.json", "openapi", "This document.", self.openapi, public=True),
            PageRoute("GET", "/llms.txt", "guide", "The same in plain text.", self.guide, public=True, reply_type=TEXT),
            PageRoute(
                "GET", "/docs", "docs", "The same for people.", _static("docs.html", HTML), public=True, reply_type=HTML
            ),
            PageRoute("GET", "/", "index", "What this is.", _static("index.html", HTML), public=True, reply_type=HTML),
            _asset("docs.css", "text/css; charset=utf-8"),
            _asset("docs.js", "text/javascript; charset=utf-8"),
        )
        summary = "Whom this key speaks for."
        return (*health, *words, PageRoute("GET", "/api/v1/whoami", "whoami", summary, whoami, ANYBODY, reply=WhoAmI))

    async def health(self, visit: PageVisit) -> Reply:
        """The process answers; nothing more is said to strangers."""
        return reply_json(Health("ok"))

    async def ready(self, visit: PageVisit) -> Reply:
        """200 when there is nothing in the way of work, else 503 and the reason."""
        status = self.phase.value
        if self.phase is Phase.READY and self._ping is not None:
            try:
                await self._ping()
            except StorageFailed:
                status = "storage_failed"
        if status == Phase.READY.value:
            return reply_json(Health(status))
        return reply_json(Health(status), 503, (_NOT_READY_RETRY,))

    async def metrics(self, visit: PageVisit) -> Reply:
        """For this machine, for everybody if the settings say so, else for an admin key."""
        assert self._metrics is not None
        assert self._auth is not None
        if not visit.is_local and not self._metrics_public:
            principal = await self._auth.authenticate(visit.headers, visit.now_ms)
            if Scope.ADMIN not in principal.scopes:
                raise Forbidden
        return Reply(200, self._metrics.render(), TEXT, (_NO_STORE,))

    async def openapi(self, visit: PageVisit) -> Reply:
        """The document, made when it is first asked for: a start need not wait for it."""
        if not self._document and self._table is not None:
            self._document = msgspec.json.encode(build_document(self._table))
        return Reply(200, self._document, JSON, SECURITY_HEADERS)

    async def guide(self, visit: PageVisit) -> Reply:
        """All endpoints as plain text."""
        assert self._table is not None
        return Reply(200, guide_text(self._table).encode(), TEXT, SECURITY_HEADERS)


async def whoami(visit: PageVisit) -> Reply:
    """What the key that was sent stands for."""
    principal = visit.principal
    assert principal is not None
    scopes = sorted(scope.value for scope in principal.scopes)
    return reply_json(WhoAmI(principal.org_id, principal.user_id, principal.key_id, scopes))


def guide_text(table: RouteTable) -> str:
    """All endpoints in a form that a language model reads without a parser."""
    lines = [
        "# Towerlog",
        "",
        "> The control tower and flight recorder for AI agents: five dialects over one durable, ordered log.",
        "",
        "Send a key as `Authorization: Bearer KEY`. Times are RFC 3339 in UTC, money is dollars, unknown is null.",
        "A success is sent after the event is on disk. Any POST takes an Idempotency-Key; replies have an X-Trace-Id.",
        "In a list of fields `?` marks one that may be left out; all fields with their types are in /openapi.json.",
        "Errors are HTTP statuses with a body in the form of the dialect; 429 and 503 say Retry-After.",
        "In Python, `import towerlog` has it all: record_run to report, App for workers, Client to ask.",
    ]
    for dialect in table.dialects:
        lines += ["", f"## {dialect.title}", ""]
        for endpoint in dialect.endpoints:
            lines.append(_line_of(endpoint))
    return "\n".join([*lines, ""])


def _line_of(endpoint: Endpoint) -> str:
    """An endpoint: what it is for, who may, and what it takes."""
    scopes = ", ".join(sorted(scope.value for scope in endpoint.scopes))
    line = f"- `{endpoint.method} {endpoint.path}`: {endpoint.summary.rstrip('.')} (scope: {scopes})."
    for what, type_ in (("Query", endpoint.query), ("Body", endpoint.request)):
        if names := _names_of(type_):
            line += f" {what}: {', '.join(names)}."
    return line


def _names_of(type_: Any) -> list[str]:
    """The fields of a struct; of anything else none."""
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return []
    return [field.encode_name + ("" if field.required else "?") for field in msgspec.structs.fields(type_)]


def _asset(name: str, content_type: str) -> PageRoute:
    answer = _static(name, content_type)
    return PageRoute(
        "GET", f"/docs/{name}", name.replace(".", "_"), "Part of /docs.", answer, public=True, reply_type=content_type
    )


def _static(name: str, content_type: str) -> Callable[[PageVisit], Awaitable[Reply]]:
    """A file of this package, read once."""
    headers = (*SECURITY_HEADERS, (b"cache-control", b"no-cache"))
    reply = Reply(200, files("towerlog.asgi.pages").joinpath("assets", name).read_bytes(), content_type, headers)

    async def answer(visit: PageVisit) -> Reply:
        return reply

    return answer
