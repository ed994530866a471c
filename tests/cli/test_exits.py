"""Every foreseen error ends in a line of words and its own exit code; an unforeseen one is not hidden."""

from __future__ import annotations

import pytest

from towerlog.cli import exits
from towerlog.config import BadSetting
from towerlog.errors import Conflict, NotFound, StorageFailed
from towerlog.server import StoreLocked
from towerlog.store.migrate import SchemaMismatch

CASES = [
    (StoreLocked("in use"), exits.UNAVAILABLE, "in use"),
    (
        FileNotFoundError(2, "there is no store here", "/x/towerlog.db"),
        exits.UNAVAILABLE,
        "/x/towerlog.db: there is no",
    ),
    (OSError(98, "cannot listen on h:1: Address already in use"), exits.UNAVAILABLE, "cannot listen on h:1"),
    (StorageFailed("the disk is gone"), exits.STORAGE_FAILED, "the disk is gone"),
    (SchemaMismatch("use a newer version"), exits.CONFIGURATION, "use a newer version"),
    (BadSetting("port: must be"), exits.CONFIGURATION, "port: must be"),
    (NotFound("key"), exits.FOUND_WRONG, "There is no such key."),
    (Conflict("There is one already."), exits.FOUND_WRONG, "There is one already."),
]


@pytest.mark.parametrize(("error", "code", "words"), CASES, ids=lambda value: str(type(value).__name__))
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


def test_an_unforeseen_error_keeps_its_traceback() -> None:
    @exits.explained
    def command() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        command()


def test_what_a_command_returns_passes() -> None:
    assert exits.explained(lambda a, b: a + b)(1, b=2) == 3


def test_every_code_is_explained() -> None:
    assert {code for _, code, _ in CASES} < set(exits.MEANINGS)
    assert all(f"{code:>2}  {meaning}" in exits.exit_codes() for code, meaning in exits.MEANINGS.items())
