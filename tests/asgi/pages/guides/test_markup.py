"""Markdown of the docs as a page: addresses of headings, links between pages, and nothing that is not shown as text."""

from __future__ import annotations

import pytest

from towerlog.asgi.pages.guides.frame import Guide
from towerlog.asgi.pages.guides.markup import rendered

LINKS = {"concepts/runs.md": "/docs/guides/concepts-runs", "start.md": "/docs/guides/start"}


def body(text: str, page: str = "concepts/keys.md") -> str:
    found = rendered(Guide("/docs/guides/x", page, text), LINKS)
    return found.partition("<main>\n")[2].partition("</main>")[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](runs.md)", '<p><a href="/docs/guides/concepts-runs">a</a></p>\n'),
        ("[a](../start.md#first-step)", '<p><a href="/docs/guides/start#first-step">a</a></p>\n'),
        ("[a](#here)", '<p><a href="#here">a</a></p>\n'),
        ("[a](https://example.com/b)", '<p><a href="https://example.com/b">a</a></p>\n'),
        (
            "[`a` b](../internals/c.md), [d](runs.md)",
            '<p><code>a</code> b, <a href="/docs/guides/concepts-runs">d</a></p>\n',
        ),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>\n"),
        ("<b onclick=x>a</b>", "<p>&lt;b onclick=x&gt;a&lt;/b&gt;</p>\n"),
        ("<!-- generated: x -->\na\n<!-- /generated -->\n", "<p>a</p>\n"),
        ("```sh\na < b\n```", '<pre tabindex="0"><code>a &lt; b\n</code></pre>\n'),
    ],
)
def test_what_stands_in_a_paragraph(text: str, shown: str) -> None:
    assert body(text) == shown


def test_headings_have_the_addresses_that_they_have_in_the_repository() -> None:
    found = body("# `a`, b & c\n\n## Two words\n\n## Two words\n\n## It's 3: d_e-f\n")
    for anchor in ("a-b--c", "two-words", "two-words-1", "its-3-d_e-f"):
        assert f'id="{anchor}"' in found
        assert f'href="#{anchor}" aria-label="Link to this section"' in found
    assert '<li><a href="#two-words-1">Two words</a></li>' in found


def test_a_list_of_headings_stands_below_what_introduces_the_page() -> None:
    found = body("# T\n\nwhat it is\n\n## A\n\n## B\n\n## C\n")
    assert found.index("what it is") < found.index('<nav class="contents"') < found.index('<h2 id="a">')
    assert "<nav" not in body("# T\n\n## A\n\n## B\n"), "too few to need one"


def test_a_table_is_scrolled_inside_itself() -> None:
    found = body("| a | b |\n|---|---|\n| `x` | [y](runs.md) |\n")
    assert found.startswith('<div class="scroll" tabindex="0"><table>')
    assert found.endswith("</table></div>\n")
    assert '<a href="/docs/guides/concepts-runs">y</a>' in found


def test_the_title_is_that_of_the_page() -> None:
    found = rendered(Guide("/docs/guides/x", "x.md", "# Runs & `threads`\n"), {})
    assert "<title>Runs &amp; threads · Towerlog</title>" in found
    assert 'href="/docs/guides/x.md"' in found
