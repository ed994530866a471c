"""Progress of a whole run, a line for every twentieth of the tests or half a minute, in place of a dot for every test.

`make test` loads it (`-p tests.support.progress`). Failures are named as they come; the rest of pytest's output stays.
"""

from __future__ import annotations

import time

import pytest

LINES = 20
SILENCE_S = 30.0
"""The longest time between two lines while tests end: what begins first takes long and has few tests."""
QUICK_MINUTES = 8
"""As measured with nothing else on the machine; the README says the same."""
REFERENCE = {"not slow": f"the quick tier takes about {QUICK_MINUTES} minutes", "": "both tiers take over an hour"}
"""Expression of `-m` → how long the whole of it takes on two cores."""


def pytest_configure(config: pytest.Config) -> None:
    """The processes that only run tests report to the one that prints."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "towerlog-progress")


class Progress:
    """Counts tests as they end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._total = 0
        self._done = 0
        self._told = 0
        self._told_at = self._began

    def pytest_report_header(self, config: pytest.Config) -> str:
        """How long it will take."""
        tier = REFERENCE.get(config.option.markexpr, "this selection has no known duration")
        return f"duration: {tier} on 2 cores"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The number of tests of a run in one process."""
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """The number of tests of a run in several processes: each of them has collected all."""
        self._total = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Counts as always, without a letter for each test."""
        if report.passed:
            return ("passed", "", "") if report.when == "call" else None
        return ("failed" if report.when == "call" else "error", "", "") if report.failed else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Names what has failed, and prints a line when another twentieth is done."""
        if report.failed:
            self._write(f"FAILED in {report.when}: {report.nodeid}")
        if report.when != "teardown":
            return
        self._done += 1
        reached, now = self._done * LINES // max(self._total, 1), time.monotonic()
        if reached > self._told or now - self._told_at > SILENCE_S:
            self._told, self._told_at = reached, now
            seconds = int(now - self._began)
            share = f"{100 * self._done // max(self._total, 1):3} %"
            self._write(f"{share}  {self._done} of {self._total} tests, {seconds // 60}:{seconds % 60:02} minutes")

    def _write(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        reporter.ensure_newline()
        reporter.write_line(text)
