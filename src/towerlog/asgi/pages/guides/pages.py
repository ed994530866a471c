"""The pages of the documentation: as HTML for people, as Markdown under the same name with `.md`.

They are copies of the pages in `docs`, written by `make docs`, since an installed package has no docs beside it.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from towerlog.asgi.pages.guides.frame import Guide, notice
from towerlog.asgi.pages.security import STILL_HEADERS
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import HTML, PLAIN_TEXT, Reply

NAMED: dict[str, str] = {
    "dialects/activity.md": "activity",
    "dialects/checkpoints.md": "checkpoints",
    "dialects/lanes.md": "lanes",
    "dialects/otlp.md": "otlp",
    "dialects/runs.md": "runs",
    "dialects/steps.md": "steps",
    "operate/deploy.md": "operator",
    "reference/ingest.md": "native",
    "README.md": "index",
}
"""Page → guide: those that have the name of a tag of the OpenAPI document, whose operations they explain, and the list
of all. Every other one has the name of its file, behind that of its folder."""
FOLDER = "guides"
MARKDOWN = ".md"
_LIST = "README.md"
_PAGE_LINK = re.compile(r"\]\(([^)\s#:]+\.md)")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+\.md)(#[^)\s]*)?\)")
_COMMENT = re.compile(r"^<!-- /?generated.*?-->\n?", re.MULTILINE)


def guide_path(name: str) -> str:
    """Where a guide is."""
    return f"/docs/guides/{name}"


def name_of(page: str) -> str:
    """The guide that a page of the docs is, by its path there."""
    return NAMED.get(page) or page.removesuffix(MARKDOWN).replace("/", "-")


class Guides:
    """All guides. Each page is read, and made into HTML, when it is first asked for, and kept: there are so many."""

    def __init__(self) -> None:
        """Looks which pages there are, and reads none."""
        self._home = files("towerlog.asgi.pages").joinpath("assets", FOLDER)
        self._pages = {name_of(page): page for page in sorted(_below(self._home, ""))}
        self._names = {page: name for name, page in self._pages.items()}
        self._guessed = _guesses(self._pages)
        self._replies: dict[str, Reply] = {}
        self._making = asyncio.Lock()

    def titles(self) -> list[tuple[str, str]]:
        """The name and the title of every guide."""
        return [(name, self._text(page).partition("\n")[0].removeprefix("# ")) for name, page in self._pages.items()]

    def whole(self) -> str:
        """All guides as one text, in the order in which the list of all names them; links lead to where they are."""
        listed = [posixpath.normpath(page) for page in _PAGE_LINK.findall(self._text(_LIST))]
        pages = dict.fromkeys(page for page in (*listed, *self._pages.values()) if page in self._names)
        return "\n".join(self._part(page) for page in pages if page != _LIST)

    def _part(self, page: str) -> str:
        """A page of the one text: where it is served, and what it says."""

        def led(link: re.Match[str]) -> str:
            words, path, anchor = link.groups("")
            name = self._names.get(posixpath.normpath(posixpath.join(posixpath.dirname(page), path)))
            # What is in the repository alone has no address here.
            return words if name is None else f"[{words}]({guide_path(name)}{MARKDOWN}{anchor})"

        text = _COMMENT.sub("", self._text(page))
        return f"<!-- {guide_path(self._names[page])}{MARKDOWN} -->\n\n{_LINK.sub(led, text).strip()}\n"

    def routes(self) -> tuple[PageRoute, ...]:
        """All guides by their names, the list of them, and the names that a person would guess."""
        of_page = "A page of the documentation; with `.md` behind its name, the Markdown that it is made from."
        guessed = (
            "The way to a page of the documentation by another name: that of its file, with its folder or without."
        )
        others = {
            308: "The page has another address: `Location`.",
            404: "There is no such page; a list of all is linked.",
        }
        return tuple(
            PageRoute("GET", path, name, words, self._answer, public=True, reply_type=HTML, others=others)
            for path, name, words in (
                (guide_path("{guide}"), "guide_page", of_page),
                ("/docs/guides", "guides", "The list of all pages of the documentation."),
                (guide_path("{folder}/{guide}"), "guide_in_folder", guessed),
                ("/docs/{guide}", "guide_of_docs", guessed),
            )
        )

    async def _answer(self, visit: PageVisit) -> Reply:
        asked = "-".join(text for name in ("folder", "guide") if (text := visit.path.get(name))) or "index"
        name = asked.removesuffix(MARKDOWN)
        if name not in self._pages or len(visit.path) > 1:
            known = self._guessed.get(name)
            return _NO_PAGE if known is None else Reply(308, b"", HTML, ((b"location", guide_path(known).encode()),))
        async with self._making:  # once, however many ask for it before it is there
            if asked not in self._replies:
                # Beside the event loop: a long page takes longer than a request may hold up the others.
                self._replies[asked] = await asyncio.to_thread(self._made, name, asked != name)
        return self._replies[asked]

    def _made(self, name: str, as_markdown: bool) -> Reply:
        page = self._pages[name]
        text = self._text(page)
        if as_markdown:
            return Reply(200, text.encode(), PLAIN_TEXT, STILL_HEADERS)
        # Here, since it reads Markdown: a twentieth of what a start would import, and most are never asked for a page.
        from towerlog.asgi.pages.guides.markup import rendered

        links = {target: guide_path(of) for target, of in self._names.items()}
        return Reply(200, rendered(Guide(guide_path(name), page, text), links).encode(), HTML, STILL_HEADERS)

    def _text(self, page: str) -> str:
        return self._home.joinpath(*page.split("/")).read_text("utf-8")


_NO_PAGE = Reply(
    404,
    notice("There is no such page", "Here is the list of all pages of the documentation.").encode(),
    HTML,
    STILL_HEADERS,
)


def _guesses(pages: Mapping[str, str]) -> dict[str, str]:
    """Other name → name: that of the file with its folder, and that of the file alone where only one is called so."""
    files = Counter(page.removesuffix(MARKDOWN).rpartition("/")[2] for page in pages.values())
    found = dict[str, str]()
    for name, page in pages.items():
        path = page.removesuffix(MARKDOWN)
        file = path.rpartition("/")[2]
        found |= {name: name, path.replace("/", "-"): name} | ({file: name} if files[file] == 1 else {})
    return found


def _below(folder: Traversable, path: str) -> list[str]:
    """The pages in a folder of the package and below it, as paths from the first."""
    found: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _below(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(MARKDOWN):
            found.append(path + entry.name)
    return found
