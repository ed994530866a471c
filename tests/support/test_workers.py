"""The processes of a run have all test files imported before they begin."""

from __future__ import annotations

import pytest

from tests.support.workers import ROOT, names_of_test_modules


def test_a_module_is_named_as_pytest_names_it(request: pytest.FixtureRequest) -> None:
    assert request.module.__name__ == "tests.support.test_workers"
    assert request.module.__name__ in names_of_test_modules()
    assert (ROOT / "tests" / "support" / "test_workers.py").samefile(request.path)
