"""`import towerlog`: cheap, on the standard library alone, and with a recorder that is made when it is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import towerlog
from tests.sdk.support.ingest_server import KEY, Ingest

STANDARD_ONLY = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first == "towerlog":
            shared = ("towerlog.sdk.", "towerlog.provider_usage.")
            if name not in ("towerlog", "towerlog.errors") and not (name + ".").startswith(shared):
                raise ImportError(f"{name} is the server's")
        elif first not in sys.stdlib_module_names:
            raise ImportError(f"{name} is not of the standard library")

sys.meta_path.insert(0, Refuse())
import towerlog
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOWERLOG_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(towerlog._HOMES))
def test_every_name_loads_on_the_standard_library_alone(name: str) -> None:
    done = run(f"{STANDARD_ONLY}\ntowerlog.{name}")
    assert done.returncode == 0, done.stderr


def test_the_import_alone_loads_nothing_of_ours() -> None:
    done = run(f"{STANDARD_ONLY}\nprint([n for n in sys.modules if n.startswith('towerlog.') or n == 'asyncio'])")
    assert done.stdout.strip() == "[]", done.stderr


def test_the_names_are_listed_and_others_are_refused() -> None:
    assert {"record_run", "Recorder", "flush", "__version__"} <= set(dir(towerlog))
    with pytest.raises(AttributeError, match="nonsense"):
        towerlog.nonsense  # noqa: B018 reading it is the test


REPORTS = """
import towerlog
with towerlog.record_run(agent="nightly", thread="t1", input="go", run_key="r1") as run:
    run.step("mark")
print(towerlog.flush(timeout=60), towerlog.status().acknowledged)
"""


def test_the_recorder_comes_from_the_environment(ingest: Ingest, tmp_path: Path) -> None:
    done = run(REPORTS, TOWERLOG_URL=ingest.url, TOWERLOG_API_KEY=KEY, XDG_STATE_HOME=str(tmp_path))
    assert done.stdout.split() == ["True", "3"], done.stderr
    assert ingest.types("r1") == ["run.started", "step", "run.completed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"TOWERLOG_URL": "nonsense"}, {"TOWERLOG_URL": "http://a", "TOWERLOG_API_KEY": "ä\n"}]
)
def test_a_wrong_environment_does_not_end_the_program(tmp_path: Path, wrong: dict[str, str]) -> None:
    code = REPORTS.replace("timeout=60", "timeout=0.1")
    done = run(code, XDG_STATE_HOME=str(tmp_path), **wrong)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "0"]), done.stderr
    assert list(tmp_path.glob("towerlog/spool/*/*/*.ndjson"))


def test_what_was_meant_for_another_server_reaches_none(ingest: Ingest, tmp_path: Path) -> None:
    """A mistyped URL, no key, a key that cannot be used: the next program with a good environment sends its own."""
    wrongs = (
        {"TOWERLOG_URL": ingest.url.replace("http", "htp"), "TOWERLOG_API_KEY": KEY},
        {"TOWERLOG_URL": ingest.url},
        {"TOWERLOG_URL": ingest.url, "TOWERLOG_API_KEY": f"{KEY} x"},
        {"TOWERLOG_URL": ingest.url, "TOWERLOG_API_KEY": "of-another-organisation"},
    )
    for number, wrong in enumerate(wrongs):
        code = REPORTS.replace("r1", f"wrong{number}").replace("timeout=60", "timeout=0")
        with ingest.lock:
            ingest.status = 401
        assert run(code, XDG_STATE_HOME=str(tmp_path), **wrong).returncode == 0
    ingest.status = 200
    done = run(REPORTS, TOWERLOG_URL=ingest.url, TOWERLOG_API_KEY=KEY, XDG_STATE_HOME=str(tmp_path))
    assert done.stdout.split() == ["True", "3"], done.stderr
    assert ingest.run_keys() == ["r1"]
    assert len(list(tmp_path.glob("towerlog/spool/*/*/*.ndjson"))) == len(wrongs)


def test_what_reports_while_the_recorder_is_being_made_does_not_wait_for_itself(tmp_path: Path) -> None:
    """A handler of signals, or of a log, runs in the thread that it interrupts."""
    code = """
import logging, threading, towerlog
from towerlog.sdk.record import default

class Reports(logging.Handler):
    def emit(self, record):
        logging.getLogger("towerlog.sdk").removeHandler(self)
        towerlog.record_run()

logging.getLogger("towerlog.sdk").addHandler(Reports())
made = threading.Thread(target=default.default_recorder, daemon=True)
made.start()
made.join(30)
print(made.is_alive())
"""
    # Without a key the recorder logs that nothing will be delivered, while it is made.
    done = run(code, TOWERLOG_URL="http://127.0.0.1:9", XDG_STATE_HOME=str(tmp_path))
    assert done.stdout.split() == ["False"], done.stderr


def test_a_program_that_ends_at_once_delivers_all_the_same(ingest: Ingest, tmp_path: Path) -> None:
    code = REPORTS.replace("print(", "#")
    done = run(code, TOWERLOG_URL=ingest.url, TOWERLOG_API_KEY=KEY, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 0
    assert ingest.types("r1") == ["run.started", "step", "run.completed"]


def test_flush_without_a_single_run_is_true_and_makes_nothing() -> None:
    done = run("import towerlog, threading; print(towerlog.flush(), threading.active_count())")
    assert done.stdout.split() == ["True", "1"], done.stderr
