"""The reader of pages runs what they say and notices when it comes out differently."""

from __future__ import annotations

import pytest

from tests.support.pages import Block, blocks, commands, matches, save_files, wrong

PAGE = """Words.

```console
$ echo one
one
$ printf 'a\\n%s\\n' \\
> b
a
b
$ X=kept
```

```sh
exit 3
```

```console
$ echo "$X $GIVEN"
kept …n
```
"""


def test_a_page_that_is_right_has_nothing_wrong(tmp_path) -> None:
    assert wrong("p.md", PAGE, tmp_path, {"GIVEN": "given"}) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("one\n$", "two\n$", "p.md:4: the page says"),
        ("echo one", "false", "p.md:4: `false` ended with 1"),
        ("echo one", "exit 0", "p.md:6: `printf"),
        ("kept …n", "kept …x", "and it was\nkept given"),
    ],
)
def test_what_comes_out_differently_is_found(tmp_path, before, after, words) -> None:
    found = wrong("p.md", PAGE.replace(before, after, 1), tmp_path, {"GIVEN": "given"})
    assert any(words in finding for finding in found), found


def test_blocks_know_their_language_and_line() -> None:
    assert [block.line for block in blocks(PAGE, "console")] == [4, 18]
    assert blocks(PAGE, "sh") == [Block("sh", 14, "exit 3\n")]
    assert [command.expected for command in commands(blocks(PAGE, "console")[0])] == ["one", "a\nb", None]


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert matches('{"a":…}', '{"a":1,\n"b":2}')
    assert matches("a", "a\n")
    assert not matches("a.c", "abc")
    assert not matches("a", "ab")


def test_named_python_is_saved_and_no_other(tmp_path) -> None:
    save_files("```python\n# mine.py\nx = 1\n```\n\n```python\n# ../other.py\n```\n\n```python\ny = 2\n```\n", tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("mine.py", "# mine.py\nx = 1\n")]
