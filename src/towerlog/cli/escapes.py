"""Untrusted text on a terminal: characters that could move the cursor, hide words or control it are escaped.

Names, messages and deltas come from agents and models, and must not be able to control the terminal.
"""

from __future__ import annotations

import json
import unicodedata

from towerlog.sdk.wire import json_text

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, formats such as the bidirectional ones, halves of surrogate pairs, and separators of lines."""
_JOINER = "\u200d"
"""Joins emoji; it is harmless."""


def visible(text: str) -> str:
    """The text on one line: line ends and everything unsafe as escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


def visible_text(text: str) -> str:
    """The text on its lines: line ends and tabs stay; carriage returns, which could overwrite a line, are dropped."""
    if text.isprintable():
        return text
    return "".join(letter if letter in "\n\t" else _shown(letter) for letter in text.replace("\r", ""))


def json_line(value: object, *, compact: bool = False) -> str:
    """A value as one line of JSON, with unsafe characters as escapes; what came from the server as it came."""
    text = json_text.write(value, compact=compact)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _is_safe(letter: str) -> bool:
    return letter == _JOINER or unicodedata.category(letter) not in _UNSAFE_CATEGORIES


def _shown(letter: str) -> str:
    if _is_safe(letter):
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(letter: str) -> str:
    return letter if _is_safe(letter) else json.dumps(letter)[1:-1]
