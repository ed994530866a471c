"""The route table: the one place where paths, methods and scopes of all dialects and pages come together.

An exact path is one look-up, and so is one with parameters that was asked for lately; else it is found among those of
its length and first segment. What can be
read in two ways (`//`, `..`, an encoded slash, `;`) is refused instead of being put right, so that no two layers can
disagree about what was asked for. A route without a scope that does not say it is public does not start.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from towerlog.asgi.faults import Rejection
from towerlog.asgi.query_strings import TICKET, parse_query
from towerlog.dialects.base import BodyKind, Dialect, Endpoint, Reply
from towerlog.dialects.fields import MAX_SHOWN_CHARS, invalid_field, percent_decode
from towerlog.errors import Malformed, MethodNotAllowed, NotFound, TowerlogError
from towerlog.model.agent import is_blank
from towerlog.model.principal import Principal, Scope

MAX_PATH_BYTES = 8192
NO_PARAMETERS: Mapping[str, str] = {}
MAX_REMEMBERED_PATHS = 4096
"""Paths with parameters whose route is remembered; with more, all are forgotten at once."""
MAX_REMEMBERED_BYTES = 256
_ENCODED_COLON = re.compile(rb"%3[aA]")


class BadRoute(Exception):
    """The table cannot be built: a route lacks its scope, is not readable, or is there twice."""


class PageVisit(msgspec.Struct, frozen=True):
    """A request as a page sees it."""

    headers: Mapping[bytes, bytes]
    query: Mapping[str, str]
    is_local: bool
    """It certainly comes from this machine."""
    steady_ms: int
    """Steady time."""
    principal: Principal | None
    """Who asks, where the page is not public."""
    path: Mapping[str, str] = NO_PARAMETERS
    """The parameters of its path."""
    body: bytes = b""
    """Its text, where the page is not public or has an `asker`."""
    address: str = ""
    """Where it comes from."""


class PageRoute(msgspec.Struct, frozen=True):
    """An endpoint that needs no command: the operator's pages and what a caller asks about itself."""

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[PageVisit], Awaitable[Reply]]
    scopes: frozenset[Scope] = frozenset()
    public: bool = False
    """Said aloud: answers anybody, whatever is in the query and the body."""
    access: str = "No key is needed."
    """Of a public page: who may read it, for its description."""
    reply: Any = None
    reply_type: str = "application/json"
    reply_status: int = 200
    others: Mapping[int, str] = {}
    """Statuses beside it that have a body of the same type, and what they mean."""
    refuses: tuple[type[TowerlogError], ...] = ()
    """What it may be refused with beside what its scope can be refused for."""
    request: Any = None
    """The body's type, for the OpenAPI document."""
    body: BodyKind = "json"
    asker: Callable[[Mapping[str, str]], Awaitable[Principal]] | None = None
    """Of a public page that takes a body: whom its path speaks for, whose account the body counts for. Raises
    NotFound."""
    knows_repeats: bool = False
    """A request is answered once for its `Idempotency-Key`."""
    is_described: bool = True
    """False: no part of the OpenAPI document. It begins a WebSocket, for which that has no words, or is for people."""
    is_shared: bool = False
    """Of a page for people: an endpoint has the same path, and the page is for browsers that open it (`opens_page`)."""
    is_for_strays: bool = False
    """Of a page for people: what a browser is shown that opens a path at which there is nothing."""
    dialect: Dialect | None = None
    """In whose words it is refused; None: in those of pages."""


class Route:
    """One method of one path, ready to be served."""

    __slots__ = (
        "_query",
        "_takes_blank",
        "body",
        "dialect",
        "endpoint",
        "is_stream",
        "limited",
        "page",
        "public",
        "repairs",
        "scopes",
        "shown",
    )

    def __init__(self, dialect: Dialect, endpoint: Endpoint | None, page: PageRoute | None) -> None:
        """Exactly one of `endpoint` and `page` is given; `dialect` explains what goes wrong."""
        self.dialect = dialect
        self.endpoint = endpoint
        self.page = page
        self.public = page is not None and page.public
        """True when it answers anybody. No property: every request asks for it."""
        self.scopes = self.declared.scopes
        self.limited = endpoint is not None and endpoint.limited and dialect.limit is not None
        self.body: BodyKind = self.declared.body
        self.repairs = endpoint is not None and endpoint.ingests
        """Telemetry whose text is no UTF-8 is repaired; what acts is refused."""
        self.is_stream = endpoint is not None and endpoint.stream is not None
        self.shown: Route | None = None
        """The page for people at the same path."""
        takes_any = self.public if endpoint is None else endpoint.ingests or Scope.INGEST in endpoint.scopes
        self._query = None if takes_any else _names_of(None if endpoint is None else endpoint.query)
        """The query parameters that it takes; None: any, as telemetry's clients may send some that are not for us."""
        self._takes_blank = self._query is None or dialect.name == "activity"
        """Its document reads a `tail` that is no number as one that is left out."""

    @property
    def declared(self) -> Endpoint | PageRoute:
        """As it was declared."""
        found = self.endpoint or self.page
        assert found is not None
        return found

    def query_of(self, text: bytes) -> Mapping[str, str]:
        """The query's parameters. Raises Invalid for one that is not read here or is blank, for a mistyped filter must
        not list all, and for one that comes twice."""
        query = parse_query(text, once=self._query is not None)
        if TICKET in query and self.is_stream:
            query = {name: value for name, value in query.items() if name != TICKET}
        if self._query is not None and not self._query.issuperset(query):
            name = next(name for name in query if name not in self._query)
            known = ", ".join(sorted(self._query)) or "none"
            raise invalid_field(name[:MAX_SHOWN_CHARS], f"is not a query parameter of this endpoint; it takes {known}")
        if not self._takes_blank:
            for name, value in query.items():
                if is_blank(value):
                    raise invalid_field(name, "must not be blank: leave it out")
        return query


def _names_of(query: Any) -> frozenset[str]:
    """The names of the fields of an endpoint's query type."""
    # Not by `msgspec.structs.fields`, which reads the annotations anew: of all endpoints together that takes long.
    return frozenset() if query is None else frozenset(query.__struct_encode_fields__)


class _Segment:
    """A piece of a path pattern: literal text, or a parameter with an optional action after a colon."""

    __slots__ = ("action", "guarded", "literal", "name")

    def __init__(self, text: str) -> None:
        self.literal = b"" if text.startswith("{") else text.encode("ascii")
        name, _, action = text.partition("}")
        self.name = name[1:] if not self.literal else ""
        self.action = action.encode("ascii")
        self.guarded = False
        """Set when another route has an action here: then a colon never belongs to the id."""
        if not self.literal and (not self.name.isidentifier() or (self.action and self.action[:1] != b":")):
            raise BadRoute(f"{text!r} is neither literal nor {{name}} nor {{name}}:action")

    def match(self, given: bytes) -> bytes | None:
        """The parameter's text, still encoded; empty for a literal; None when it does not match."""
        if self.literal:
            return b"" if given == self.literal else None
        if self.action:
            given, found = given[: -len(self.action)], given.endswith(self.action)
            return given if found and given and b":" not in given else None
        return None if not given or (self.guarded and b":" in given) else given


class _Pattern:
    """A path with parameters and what each method does there."""

    __slots__ = ("key", "methods", "segments", "weight")

    def __init__(self, path: str) -> None:
        self.segments = [_Segment(text) for text in path.split("/")[1:]]
        self.methods: dict[str, Route] = {}
        self.key = tuple(segment.literal or segment.action or b"*" for segment in self.segments)
        self.weight = tuple((not segment.literal, not segment.action) for segment in self.segments)
        """Sorts literal text before actions before plain parameters, from left to right."""

    def match(self, given: list[bytes]) -> Mapping[str, str] | None:
        """The parameters, decoded."""
        found: dict[str, str] = {}
        for segment, text in zip(self.segments, given, strict=True):
            value = segment.match(text)
            if value is None:
                return None
            if segment.name:
                found[segment.name] = value.decode("utf-8", "replace")
                if b"%" in value:
                    found[segment.name] = percent_decode(found[segment.name])
        return found


class RouteTable:
    """All routes, compiled."""

    def __init__(self, dialects: Iterable[Dialect], pages: Iterable[PageRoute], fallback: Dialect) -> None:
        """`fallback` explains errors of paths that belong to no dialect, and of pages. Raises BadRoute."""
        self.fallback = fallback
        self.dialects = tuple(dialects)
        self.exact: dict[tuple[str, bytes], Route] = {}
        """(method, path) → its route, of the paths without parameters: one look-up for the busiest requests."""
        self._exact: dict[bytes, dict[str, Route]] = {}
        self._patterns: dict[tuple[int, bytes], list[_Pattern]] = {}
        self._remembered: dict[tuple[str, bytes], tuple[Route, Mapping[str, str]]] = {}
        """Lately found: a worker reports to one path for as long as its run lasts."""
        self._owners: dict[bytes, Dialect | None] = {}
        self._routes: list[Route] = []
        self._strays: Route | None = None
        for dialect in self.dialects:
            for endpoint in dialect.endpoints:
                self._add(Route(dialect, endpoint, None))
        for page in pages:
            self._add(Route(page.dialect or fallback, None, page))
        for patterns in self._patterns.values():
            _guard(patterns)
            patterns.sort(key=lambda pattern: pattern.weight)

    def __iter__(self) -> Iterator[Route]:
        """Every route, in the order of declaration."""
        return iter(self._routes)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, Mapping[str, str]]:
        """The route and its parameters; a HEAD is answered like a GET. Raises NotFound, Rejection (400, 405, 414)."""
        found = self._remembered.get((method, raw_path))
        if found is None:
            found = self._look_up(method, raw_path)
            if len(raw_path) <= MAX_REMEMBERED_BYTES:
                if len(self._remembered) >= MAX_REMEMBERED_PATHS:
                    self._remembered.clear()
                self._remembered[method, raw_path] = found
        return found

    def find_for(self, method: str, raw_path: bytes, headers: Mapping[bytes, bytes]) -> tuple[Route, Mapping[str, str]]:
        """The same; a browser that opens a path at which there is nothing gets a page that says so, where one is."""
        try:
            return self.find(method, raw_path)
        except NotFound:
            if self._strays is None or method not in ("GET", "HEAD") or not opens_page(headers):
                raise
            return self._strays, NO_PARAMETERS

    def _look_up(self, method: str, raw_path: bytes) -> tuple[Route, Mapping[str, str]]:
        methods: Mapping[str, Route] | None = self._exact.get(raw_path)
        found = NO_PARAMETERS
        if methods is None:
            methods, found = self._match(raw_path)
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            raise _method_refused(method, methods)
        return route, found

    def owner(self, raw_path: bytes) -> Dialect:
        """The dialect in whose words a path that leads nowhere is refused: the one that owns most of it."""
        # One character more than any that is owned: what was cut in the middle of a part matches nothing.
        prefix = raw_path[: max(map(len, self._owners), default=0) + 1]
        while prefix:
            if prefix in self._owners:
                return self._owners[prefix] or self.fallback
            prefix = prefix.rpartition(b"/")[0]
        return self.fallback

    def _match(self, raw_path: bytes) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        _check_path(raw_path)
        # An encoded colon is the colon: some clients encode all but letters and digits.
        given = _ENCODED_COLON.sub(b":", raw_path).split(b"/")[1:]
        for pattern in self._patterns.get((len(given), given[0]), ()):
            found = pattern.match(given)
            if found is not None:
                return pattern.methods, found
        if len(given) > 1 and not given[-1]:
            # People type a slash behind the address of a page; programs spell a path as it is documented.
            methods = self._exact.get(raw_path[:-1], {})
            if methods and all(route.page is not None and route.public for route in methods.values()):
                return methods, NO_PARAMETERS
        raise NotFound("route", "There is nothing at this path.")

    def _add(self, route: Route) -> None:
        declared = route.declared
        if not route.scopes and not route.public:
            raise BadRoute(f"{declared.method} {declared.path} has no scope and does not say that it is public")
        if route.page is not None and route.page.is_for_strays:
            self._strays = route
            self._routes.append(route)
            return
        methods = self._methods_of(declared.path)
        if route.page is not None and route.page.is_shared and declared.method in methods:
            methods[declared.method].shown = route
            self._routes.append(route)
            return
        if declared.method in methods:
            raise BadRoute(f"{declared.method} {declared.path} is there twice")
        methods[declared.method] = route
        if "{" not in declared.path:
            self.exact[declared.method, declared.path.encode("ascii")] = route
        self._routes.append(route)
        if route.endpoint is not None:
            self._own(declared.path, route.dialect)

    def _methods_of(self, path: str) -> dict[str, Route]:
        if not path.startswith("/"):
            raise BadRoute(f"{path!r} does not begin with a slash")
        if "{" not in path:
            return self._exact.setdefault(path.encode("ascii"), {})
        made = _Pattern(path)
        siblings = self._patterns.setdefault((len(made.segments), made.segments[0].literal), [])
        for pattern in siblings:
            if pattern.key == made.key:
                return pattern.methods
        siblings.append(made)
        return made.methods

    def _own(self, path: str, dialect: Dialect) -> None:
        prefix = ""
        for text in path.split("/")[1:]:
            if text.startswith("{"):
                return
            prefix += f"/{text}"
            known = self._owners.setdefault(prefix.encode("ascii"), dialect)
            if known is not dialect:
                self._owners[prefix.encode("ascii")] = None


def opens_page(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser opens the path for a person: it asks for HTML, and brings no key."""
    accepted = headers.get(b"accept", b"")
    return b"text/html" in accepted and b"authorization" not in headers and b"x-api-key" not in headers


def _guard(patterns: list[_Pattern]) -> None:
    """Marks the plain parameters that stand where another pattern has an action."""
    for pattern in patterns:
        for at, segment in enumerate(pattern.segments):
            segment.guarded = not segment.literal and any(
                other.segments[at].action and other.key[:at] == pattern.key[:at] for other in patterns
            )


def _check_path(raw_path: bytes) -> None:
    """Refuses what two readers could read in two ways."""
    if len(raw_path) > MAX_PATH_BYTES:
        raise Rejection(414, Malformed(f"The path is longer than {MAX_PATH_BYTES} bytes."))
    plain = raw_path
    if b"%" in plain:
        lowered = raw_path.lower()
        if b"%2f" in lowered:
            raise _ambiguous("an encoded slash")
        plain = lowered.replace(b"%2e", b".")
    if b"//" in plain:
        raise _ambiguous("an empty segment")
    if b";" in plain:
        raise _ambiguous("a semicolon")
    if b"/./" in plain or b"/../" in plain or plain.endswith((b"/.", b"/..")):
        raise _ambiguous("a dot segment")
    if not plain.startswith(b"/"):
        raise _ambiguous("no slash at its beginning")


def _ambiguous(what: str) -> Rejection:
    return Rejection(400, Malformed(f"The path is ambiguous: it has {what}."))


def _method_refused(method: str, methods: Mapping[str, Route]) -> Rejection:
    allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
    error = MethodNotAllowed(f"This path does not take {method[:20]}; it takes {allowed}.")
    return Rejection(405, error, ((b"allow", allowed.encode("ascii")),))
