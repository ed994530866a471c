"""Every foreseen error ends in a line of words and its own exit code; an unforeseen one is not hidden."""

from __future__ import annotations

import errno
import os
import pwd

import pytest
from click.testing import CliRunner

from towerlog.cli import exits
from towerlog.cli.main import main
from towerlog.config import BadSetting
from towerlog.errors import Conflict, DiskFull, NotFound, SchemaMismatch, StorageFailed, StoreLocked, UnfitServer
from towerlog.sdk.wire.errors import ApiError, Unreachable

CASES = [
    (StoreLocked("in use"), exits.UNAVAILABLE, "in use"),
    (
        FileNotFoundError(2, "no store here", "/x/towerlog.db"),
        exits.UNAVAILABLE,
        "/x/towerlog.db: no store",
    ),
    (OSError(98, "cannot listen on h:1: Address already in use"), exits.UNAVAILABLE, "cannot listen on h:1"),
    (StorageFailed("the disk is gone"), exits.STORAGE_FAILED, "the disk is gone"),
    (DiskFull("/x: the disk is full"), exits.STORAGE_FAILED, "/x: the disk is full"),
    (OSError(errno.ENOSPC, "No space left on device", "/x"), exits.STORAGE_FAILED, "/x: the disk is full"),
    (OSError(errno.EDQUOT, "Quota exceeded", "/x"), exits.STORAGE_FAILED, "/x: the quota of the disk"),
    (RuntimeError("can't start new thread"), exits.UNAVAILABLE, "the system starts no more threads"),
    (MemoryError(), exits.UNAVAILABLE, "the system gives this process no more"),
    (SchemaMismatch("use a newer version"), exits.CONFIGURATION, "use a newer version"),
    (UnfitServer("uvicorn 0.44.0 cannot be used"), exits.CONFIGURATION, "uvicorn 0.44.0 cannot be used"),
    (BadSetting("port: must be"), exits.CONFIGURATION, "port: must be"),
    (NotFound("key"), exits.FOUND_WRONG, "There is no such key."),
    (Conflict("There is one already."), exits.FOUND_WRONG, "There is one already."),
    (Unreachable("http://h: refused"), exits.UNAVAILABLE, "http://h: refused"),
    (ApiError(401, "unauthenticated", "No key."), exits.NO_PERMISSION, "No key."),
    (ApiError(403, "forbidden", "No scope."), exits.NO_PERMISSION, "No scope."),
    (ApiError(404, "not_found", "No run."), exits.FOUND_WRONG, "No run."),
    (ApiError(422, "invalid", "Wrong.", {"a": "a: is wrong"}), exits.FOUND_WRONG, "Wrong.; a: is wrong"),
    (ApiError(422, "invalid", "a: is wrong", {"a": "is wrong"}), exits.FOUND_WRONG, "a: is wrong\n"),
    (ApiError(429, "rate_limited", "Slowly."), exits.BUSY, "Slowly."),
    (ApiError(503, "overloaded", "Busy."), exits.BUSY, "Busy."),
    (ApiError(500, "internal", "A defect."), exits.UNAVAILABLE, "A defect."),
    (ApiError(404, "x", "a\x1b[2J\nb"), exits.FOUND_WRONG, "a\\x1b[2J\\x0ab"),
]


@pytest.mark.parametrize(
    ("error", "code", "words"), CASES, ids=[f"{type(case[0]).__name__}-{case[2]!r}" for case in CASES]
)
def test_a_foreseen_error_ends_in_words(capsys, error, code, words) -> None:
    @exits.explained
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"towerlog: {words}")
    assert printed.err.count("\n") == 1


def test_what_is_denied_is_told_with_its_owner(tmp_path) -> None:
    file = tmp_path / "towerlog.db"
    me = pwd.getpwuid(os.geteuid()).pw_name
    denied = PermissionError(errno.EACCES, "Permission denied", str(file))
    assert exits.words_of(denied) == (
        f"{file}: permission denied; {tmp_path} belongs to {me}, and this command runs as {me}"
    )
    file.touch()
    assert f"; {file} belongs to {me}" in exits.words_of(denied)
    assert exits.exit_code_of(denied) == exits.UNAVAILABLE


def test_a_refusal_is_told_in_its_own_words_without_what_is_for_programs() -> None:
    refused = ApiError(
        409, "question_closed", "Answered by alice.", {"answered_by": "alice", "answered_by_user_id": "7"}
    )
    assert exits.words_of(refused) == "Answered by alice."
    wrong = ApiError(422, "validation_failed", "limit: too many", {"limit": "too many", "before": "no cursor"})
    assert exits.words_of(wrong) == "limit: too many; no cursor"


ENDS: list[tuple[str, int, str]] = [
    ("help", exits.OK, "Usage: towerlog"),
    ("help runs", exits.OK, "Usage: towerlog runs"),
    ("run ls", exits.USAGE, "No such command 'run'. Did you mean 'runs'?"),
    ("runs lst", exits.USAGE, "Did you mean"),
    ("runs ls --limit 0", exits.USAGE, "--limit"),
    ("runs ls --status done", exits.USAGE, "'done' is not one of queued, running"),
    ("serve --port 99999", exits.USAGE, "--port must be between"),
    ("worker --app json", exits.USAGE, "MODULE:OBJECT"),
    ("worker --app no_such_module:app", exits.USAGE, "there is no module 'no_such_module'"),
    ("worker --app json:nope", exits.USAGE, "module json has no 'nope'"),
    ("worker --app json:loads", exits.USAGE, "is a function, not a towerlog.App"),
    ("backup {tmp}/there", exits.USAGE, "exists already"),
    ("backup {tmp}/nowhere/x.db", exits.USAGE, "/nowhere: no such folder"),
    ("export --since 1h -o {tmp}/there", exits.USAGE, "exists already"),
    ("export --since 1h -o {tmp}/nowhere/x", exits.USAGE, "/nowhere: no such folder"),
    ("spool adopt nope --spool-dir {tmp}", exits.FOUND_WRONG, "There is no spool whose id begins with 'nope'."),
    ("spool drop nope --spool-dir {tmp}", exits.FOUND_WRONG, "There is no spool whose id begins with 'nope'."),
    ("spool drop 9 --spool-dir {tmp}", exits.FOUND_WRONG, "more than one spool id: 9a, 9b. Give more of it."),
    ("runs ls", exits.UNAVAILABLE, "127.0.0.1:1"),
    ("keys ls --data-dir {tmp}/none", exits.UNAVAILABLE, "no store here"),
]
"""A command line, what it ends with, and a part of what it says."""


@pytest.mark.parametrize(("line", "code", "words"), ENDS, ids=[line for line, _, _ in ENDS])
def test_the_same_mistake_ends_the_same_way_in_every_command(tmp_path, monkeypatch, line, code, words) -> None:
    monkeypatch.setenv("TOWERLOG_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TOWERLOG_API_KEY", "k" * 40)
    (tmp_path / "there").touch()
    for name in ("9a", "9b"):
        (tmp_path / name).mkdir()
    ended = CliRunner().invoke(main, line.format(tmp=tmp_path).split(), prog_name="towerlog")
    assert (ended.exit_code, words in ended.output) == (code, True), ended.output


def test_a_misspelled_variable_is_named_where_there_is_no_key(monkeypatch) -> None:
    monkeypatch.setenv("TOWERLOG_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TOWERLOG_API_KY", "k" * 40)
    monkeypatch.delenv("TOWERLOG_API_KEY", raising=False)
    ended = CliRunner().invoke(main, ["runs", "ls"])
    assert ended.exit_code == exits.NO_PERMISSION
    assert "TOWERLOG_API_KY is set, but there is no such setting (did you mean TOWERLOG_API_KEY?)" in ended.output


def test_an_unforeseen_error_keeps_its_traceback() -> None:
    @exits.explained
    def command() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        command()


def test_a_reader_that_has_gone_is_no_error_of_ours() -> None:
    @exits.explained
    def command() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    # click ends quietly for it.
    with pytest.raises(BrokenPipeError):
        command()


def test_what_a_command_returns_passes() -> None:
    assert exits.explained(lambda a, b: a + b)(1, b=2) == 3


def test_every_code_is_explained() -> None:
    assert {code for _, code, _ in CASES} < set(exits.MEANINGS)
    table = exits.exit_codes()
    assert all(f"{code} {meaning}" in " ".join(table.split()) for code, meaning in exits.MEANINGS.items())
    assert max(map(len, table.splitlines())) < 80
