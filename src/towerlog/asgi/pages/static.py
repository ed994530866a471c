"""What can be asked of the server, in words: the OpenAPI document, the same in plain text, and the pages for people.

HTML is static and its script a file of its own: nothing from elsewhere, nothing inline, nothing of what was sent in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import msgspec

from towerlog.asgi.pages.guides.pages import Guides, guide_path
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.pages.security import SECURITY_HEADERS
from towerlog.asgi.routes import PageRoute, PageVisit, RouteTable
from towerlog.dialects.base import HTML, JSON, PLAIN_TEXT, Endpoint, Reply

SVG = "image/svg+xml"
_IN_BRIEF = "The control tower and flight recorder for AI agents: six dialects over one durable, ordered log."


class StaticPages:
    """`/openapi.json`, `/llms.txt`, `/llms-full.txt`, `/docs`, the guides and the icon."""

    def __init__(self) -> None:
        """Until `attach`, two of them have nothing to say."""
        self._table: RouteTable | None = None
        self._url = "/"
        self._document = b""
        self._in_words = self._in_full = b""
        self._guides = Guides()
        self._making = asyncio.Lock()

    def attach(self, table: RouteTable, url: str) -> None:
        """`table` is what the pages describe, `url` where clients find the server; empty: where they found the page."""
        self._table = table
        self._url = url or "/"

    def routes(self) -> tuple[PageRoute, ...]:
        """All of them."""
        guide, docs = "The API described in plain text.", "The API described on a page."
        full = "The whole documentation as one text."
        return (
            PageRoute("GET", "/openapi.json", "openapi", "This description of the API.", self.openapi, public=True),
            PageRoute("GET", "/llms.txt", "guide", guide, self.guide, public=True, reply_type=PLAIN_TEXT),
            PageRoute("GET", "/llms-full.txt", "guides_in_full", full, self.full, public=True, reply_type=PLAIN_TEXT),
            PageRoute("GET", "/docs", "docs", docs, _static("docs.html", HTML), public=True, reply_type=HTML),
            *self._guides.routes(),
            # Browsers ask for it beside every page, by this name.
            PageRoute(
                "GET",
                "/favicon.ico",
                "icon",
                "The icon of the pages.",
                _static("icon.svg", SVG),
                public=True,
                reply_type=SVG,
                is_described=False,
            ),
            _asset("guide.css", "text/css; charset=utf-8"),
            _asset("docs.css", "text/css; charset=utf-8"),
            _asset("docs.js", "text/javascript; charset=utf-8"),
        )

    async def openapi(self, visit: PageVisit) -> Reply:
        """The document, made when it is first asked for: a start need not wait for it."""
        async with self._making:  # once, however many ask for it before it is there
            if not self._document and self._table is not None:
                # Beside the event loop: it takes longer than a request may hold up the others.
                self._document = await asyncio.to_thread(_encoded_document, self._table, self._url)
        return Reply(200, self._document, JSON, SECURITY_HEADERS)

    async def guide(self, visit: PageVisit) -> Reply:
        """All endpoints as plain text."""
        async with self._making:
            if not self._in_words and self._table is not None:
                # It reads the titles of all guides.
                self._in_words = await asyncio.to_thread(_encoded_text, self._table, self._guides.titles)
        return Reply(200, self._in_words, PLAIN_TEXT, SECURITY_HEADERS)

    async def full(self, visit: PageVisit) -> Reply:
        """All guides as one text."""
        async with self._making:
            if not self._in_full:
                self._in_full = await asyncio.to_thread(_encoded_guides, self._guides)
        return Reply(200, self._in_full, PLAIN_TEXT, SECURITY_HEADERS)


def _encoded_guides(guides: Guides) -> bytes:
    return f"# Towerlog\n\n> {_IN_BRIEF}\n\n{guides.whole()}".encode()


def _encoded_document(table: RouteTable, url: str) -> bytes:
    return msgspec.json.encode(build_document(table, url))


def _encoded_text(table: RouteTable, titles: Callable[[], list[tuple[str, str]]]) -> bytes:
    return guide_text(table, titles()).encode()


def guide_text(table: RouteTable, titles: list[tuple[str, str]]) -> str:
    """All endpoints, and where the guides are, in a form that a language model reads without a parser."""
    lines = [
        "# Towerlog",
        "",
        f"> {_IN_BRIEF}",
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
    lines += ["", "## Guides", "", "- [All of them as one text](/llms-full.txt)"]
    lines += [f"- [{title}]({guide_path(name)}.md)" for name, title in titles]
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
