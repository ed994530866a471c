"""Answers on standard output, everything else beside it; nothing is cut that somebody has to copy."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys

from towerlog.cli import output


def test_an_answer_is_json_or_words(capsys) -> None:
    output.answer(True, {"a": "ü", "b": None}, lambda: output.say("words"))
    assert json.loads(capsys.readouterr().out) == {"a": "ü", "b": None}
    output.answer(False, {"a": 1}, lambda: output.say("words"))
    assert capsys.readouterr().out == "words\n"


def test_notes_stay_beside_the_answer(capsys) -> None:
    output.note("careful")
    assert capsys.readouterr() == ("", "careful\n")


def test_a_key_stands_alone_on_its_line(capsys) -> None:
    output.show_key("tl_adm_x", what="A key")
    assert "tl_adm_x" in [line.strip() for line in capsys.readouterr().out.splitlines()]
    output.show_key("tl_adm_x", what="A key", aside=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "tl_adm_x" in printed.err


def test_progress_is_shown_on_a_terminal() -> None:
    program = "from towerlog.cli.output import progress\nwith progress('wal\\x1bking', 3) as done:\n    done(3)\n"
    terminal, child = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=child, env=env, timeout=60, check=True
    )
    os.close(child)
    shown = b""
    # The terminal of a child that has gone says so with an error.
    with contextlib.suppress(OSError):
        while found := os.read(terminal, 4096):
            shown += found
    os.close(terminal)
    assert b"wal\\x1bking" in shown
    assert b"3/3" in shown
    assert done.stdout == b""


def test_progress_is_silent_in_a_pipe(capsys) -> None:
    with output.progress("walking", 3) as done:
        done(1)
        done(3)
    assert capsys.readouterr() == ("", "")


def test_what_could_talk_to_the_terminal_is_shown_everywhere(capsys) -> None:
    evil = "a\x1b[2J\x9b"
    output.say(evil)
    output.note(evil)
    output.show_fields([("name", evil), ("unknown", None)])
    output.answer(True, {"a": evil}, lambda: None)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\x9b" not in out + err
    assert out.count("a\\x1b[2J\\x9b") == 2
    assert "unknown" not in out
