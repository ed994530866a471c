"""What is around a page of the documentation, and a page that only says something: without a reader of Markdown."""

from __future__ import annotations

import html
from dataclasses import dataclass

TEMPLATE = """<!doctype html>
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
"""A page with its title, its further links and its body."""


@dataclass(frozen=True)
class Guide:
    """A page: where it is served, its path in the docs, and its Markdown."""

    path: str
    page: str
    text: str


def notice(title: str, words: str) -> str:
    """A page that says something, with a link to the list of all pages."""
    link = f'<p><a href="/docs/guides/index">{html.escape(words)}</a></p>'
    return TEMPLATE.format(title=html.escape(title), more="", body=f"<h1>{html.escape(title)}</h1>\n{link}\n")
