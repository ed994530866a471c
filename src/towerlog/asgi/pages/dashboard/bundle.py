"""The built dashboard in memory: `index.html`, and the assets that it names, each with its compressed forms.

The build writes `NAME.br` and `NAME.gz` beside a file; nothing is compressed here. A file's name holds a hash of what
is in it, all but that of `index.html`: so assets never change, and `index.html` is asked for anew each time.

`parts.json` says which assets each page is made of, beside those that `index.html` names: a browser that is told them
with `index.html` asks for all of them at once, and not for each when another was read.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from towerlog.asgi.pages.security import DASHBOARD_HEADERS
from towerlog.asgi.replies import Headers
from towerlog.dialects.base import HTML, Reply

INDEX = "index.html"
ASSETS = "assets"
"""The folder of all other files, and the first segment of their paths."""
PARTS = "parts.json"
MAX_BUILT_BYTES = 2 * 1024 * 1024
"""Of all files, compressed forms included."""
_Path = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_./-]{1,200}\Z")]
_CODINGS = (("br", ".br"), ("gzip", ".gz"))
"""As `Accept-Encoding` calls them, the best first, and how the names of their files end."""
_ASSET: Headers = ((b"cache-control", b"public, max-age=31536000, immutable"),)
_PAGE: Headers = ((b"cache-control", b"no-cache"),)
_TEXTS = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})


class BadBuild(Exception):
    """What the dashboard was built to cannot be served."""


class Built(msgspec.Struct, frozen=True):
    """A file of the dashboard, ready to be sent in any of its forms."""

    forms: Mapping[str, Reply]
    """By coding; `identity` is always there."""
    etag: bytes

    def answer(self, headers: Mapping[bytes, bytes], status: int = 200) -> Reply:
        """The form that the request takes; 304 where its `If-None-Match` names what is here, and it is no error."""
        form = self.forms[_coding_of(headers.get(b"accept-encoding", b""), self.forms)]
        if status == form.status and _names(headers.get(b"if-none-match", b""), self.etag):
            return Reply(304, b"", form.content_type, form.headers)
        return form if status == form.status else msgspec.structs.replace(form, status=status)

    def naming(self, parts: Sequence[str]) -> Built:
        """The same with a header that lets a browser load these modules at once."""
        if not parts:
            return self
        link = b", ".join(b"</%s>; rel=modulepreload" % part.encode("ascii") for part in parts)
        forms = {
            coding: msgspec.structs.replace(form, headers=(*form.headers, (b"link", link)))
            for coding, form in self.forms.items()
        }
        return Built(forms, self.etag)


def read_parts(folder: Path) -> dict[str, tuple[str, ...]]:
    """Page → the paths of its modules; none where the build did not say. Raises BadBuild, OSError."""
    path = folder / PARTS
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[_Path, ...]])
    except msgspec.MsgspecError as error:
        raise BadBuild(f"{path} says no parts of pages: {error}") from error


def read_build(folder: Path) -> dict[str, Built]:
    """All files by their paths inside of the folder; none where nothing was built. Raises BadBuild, OSError."""
    if not (folder / INDEX).is_file():
        return {}
    paths = [folder / INDEX, *_assets(folder)]
    total = sum(form.stat().st_size for path in paths for _, form in _forms(path))
    if total > MAX_BUILT_BYTES:
        raise BadBuild(f"the dashboard in {folder} has {total} bytes; at most {MAX_BUILT_BYTES} are served")
    return {path.relative_to(folder).as_posix(): _read(path) for path in paths}


def _assets(folder: Path) -> list[Path]:
    """The files that are no compressed form of another."""
    found = sorted(path for path in (folder / ASSETS).glob("*") if path.is_file())
    return [path for path in found if path.suffix not in (".br", ".gz")]


def _forms(path: Path) -> Iterator[tuple[str, Path]]:
    """The file in each of its forms."""
    yield "identity", path
    for coding, ending in _CODINGS:
        form = path.with_name(path.name + ending)
        if form.is_file():
            yield coding, form


def _read(path: Path) -> Built:
    is_page = path.name == INDEX
    kind = _type_of(path)
    etag = b'"' + hashlib.sha256(path.read_bytes()).hexdigest()[:32].encode("ascii") + b'"'
    # The same entity in another coding is another representation, which `vary` says; a weak tag names all of them.
    # A screen may share its path with an endpoint, which programs ask for another type.
    vary = b"accept, accept-encoding" if is_page else b"accept-encoding"
    tagged: Headers = ((b"etag", b"W/" + etag), (b"vary", vary), *(_PAGE if is_page else _ASSET), *DASHBOARD_HEADERS)
    forms = {}
    for coding, form in _forms(path):
        encoded: Headers = () if coding == "identity" else ((b"content-encoding", coding.encode("ascii")),)
        forms[coding] = Reply(200, form.read_bytes(), kind, (*tagged, *encoded))
    return Built(forms, etag)


def _type_of(path: Path) -> str:
    if path.name == INDEX:
        return HTML
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind in _TEXTS else kind


def _coding_of(accepted: bytes, forms: Mapping[str, Reply]) -> str:
    """The best form that `Accept-Encoding` takes: one that is refused (`q=0`) or not named is not sent."""
    taken = set()
    for part in accepted.decode("latin-1").lower().split(","):
        coding, _, weight = part.partition(";")
        if weight.replace(" ", "").rstrip("0") not in ("q=", "q=0."):
            taken.add(coding.strip())
    return next((coding for coding, _ in _CODINGS if coding in taken and coding in forms), "identity")


def _names(condition: bytes, etag: bytes) -> bool:
    """Whether `If-None-Match` names the tag; it compares weakly, and a star names any."""
    tags = (tag.strip().removeprefix(b"W/") for tag in condition.split(b","))
    return any(tag in (etag, b"*") for tag in tags)
