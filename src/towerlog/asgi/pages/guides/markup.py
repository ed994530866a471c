"""A page of the documentation as HTML: an address for each heading, links between pages, and a list of what is on it.

The Markdown is the package's own. Nothing of a request is in it, and HTML in it is shown as text.
"""

from __future__ import annotations

import html
import itertools
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

_COMMENT = re.compile(r"^<!--.*?-->\n?", re.MULTILINE)
_NOT_IN_ANCHOR = re.compile(r"[^\w\- ]")
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Towerlog</title>
<link rel="stylesheet" href="/docs/guide.css">
</head>
<body>
<header><nav aria-label="Towerlog"><a href="/">Dashboard</a> <a href="/docs/guides/index">Documentation</a> \
<a href="/docs">API</a>{more}</nav></header>
<main>
{body}</main>
</body>
</html>
"""
MIN_LISTED = 3
"""Headings from which on a page begins with a list of them."""


@dataclass(frozen=True)
class Guide:
    """A page: where it is served, its path in the docs, and its Markdown."""

    path: str
    page: str
    text: str


def rendered(guide: Guide, links: Mapping[str, str]) -> str:
    """The page as HTML. `links`: where the pages of the docs are served, by their paths in the docs."""
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = markdown.parse(_COMMENT.sub("", guide.text))
    headings = list(_addressed(tokens))
    _title_cells(tokens)
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, guide.page, links))
    # The list stands below the title and what introduces the page.
    at = next((index for index, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"), 0)
    parts = [markdown.renderer.render(some, markdown.options, {}) for some in (tokens[:at], tokens[at:])]
    title = next((text for level, _, text in headings if level == 1), guide.page)
    body = parts[0] + _list_of(headings) + parts[1]
    more = f' <a href="{html.escape(guide.path)}.md">This page as Markdown</a>'
    return _TEMPLATE.format(title=html.escape(title), more=more, body=body)


def notice(title: str, words: str) -> str:
    """A page that says something, with a link to the list of all pages."""
    link = f'<p><a href="/docs/guides/index">{html.escape(words)}</a></p>'
    return _TEMPLATE.format(title=html.escape(title), more="", body=f"<h1>{html.escape(title)}</h1>\n{link}\n")


class _Renderer(RendererHTML):
    """Tables and code can be scrolled inside themselves, by keyboard too; a heading has a link to itself."""

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return '<div class="scroll" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return "</table></div>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return f'<pre tabindex="0"><code>{html.escape(tokens[idx].content)}</code></pre>\n'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        opened = next(token for token in reversed(tokens[:idx]) if token.type == "heading_open")
        anchor = html.escape(str(opened.attrs["id"]))
        return f' <a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a></{opened.tag}>\n'


def _addressed(tokens: list[Token]) -> Iterator[tuple[int, str, str]]:
    """Gives each heading its id, as GitHub does; level, id and text of each."""
    seen: dict[str, int] = {}
    for opened, inline in itertools.pairwise(tokens):
        if opened.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or ())
        anchor = _NOT_IN_ANCHOR.sub("", text.lower()).replace(" ", "-")
        number = seen[anchor] = seen.get(anchor, -1) + 1
        opened.attrSet("id", anchor if not number else f"{anchor}-{number}")
        yield int(opened.tag[1:]), str(opened.attrs["id"]), text


def _title_cells(tokens: list[Token]) -> None:
    """Gives each cell behind the first of its row the title of its column, which a narrow page shows before it."""
    titles: list[str] = []
    column = 0
    for opened, inline in itertools.pairwise(tokens):
        match opened.type:
            case "table_open":
                titles = []
            case "tr_open":
                column = 0
            case "th_open":
                titles.append("".join(child.content for child in inline.children or ()))
            case "td_open":
                if column and titles[column]:
                    opened.attrSet("data-title", titles[column])
                column += 1
            case _:
                pass


def _linked(children: list[Token], page: str, links: Mapping[str, str]) -> Iterator[Token]:
    """The tokens with links that lead to where pages are served. A link to what is not served is its text alone."""
    is_dropped = False
    for child in children:
        if child.type == "link_open":
            target = _target_of(str(child.attrs["href"]), page, links)
            is_dropped = target is None
            if target is not None:
                child.attrSet("href", target)
        if child.type not in ("link_open", "link_close") or not is_dropped:
            yield child


def _target_of(href: str, page: str, links: Mapping[str, str]) -> str | None:
    path, hash_, anchor = href.partition("#")
    if not path or "://" in path:
        return href
    served = links.get(posixpath.normpath(posixpath.join(posixpath.dirname(page), path)))
    return None if served is None else f"{served}{hash_}{anchor}"


def _list_of(headings: list[tuple[int, str, str]]) -> str:
    """The headings of the second level, where there are enough of them."""
    second = [(anchor, text) for level, anchor, text in headings if level == 2]
    if len(second) < MIN_LISTED:
        return ""
    items = "".join(f'<li><a href="#{html.escape(anchor)}">{html.escape(text)}</a></li>\n' for anchor, text in second)
    return f'<nav class="contents" aria-label="On this page"><ul>\n{items}</ul></nav>\n'
