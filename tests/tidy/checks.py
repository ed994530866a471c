"""The checks over single files, by what they look at."""

from collections.abc import Callable, Iterator

from tests.tidy import doors, files, habits, shape
from tests.tidy.source import Source

SourceCheck = Callable[[Source], Iterator[str]]
FileCheck = Callable[[str, bytes], Iterator[str]]

SOURCE_CHECKS: tuple[SourceCheck, ...] = (
    shape.long_functions,
    shape.long_module,
    shape.missing_public_docstrings,
    doors.ambient_use,
    doors.environment_use,
    doors.outgoing_use,
    doors.evaluation,
    doors.printing,
    doors.module_state,
    doors.unbounded_queue,
    doors.unbounded_cache,
    doors.driver_transaction,
    doors.sdk_imports,
)
PYTHON_CHECKS: tuple[SourceCheck, ...] = (
    shape.missing_module_docstring,
    shape.stray_docstring,
    shape.vague_name,
    shape.misnamed_bound,
)
TEST_CHECKS: tuple[SourceCheck, ...] = (
    habits.fixed_pause,
    habits.limit_in_seconds,
    habits.stepping_aside,
    habits.decided_at_import,
)
FILE_CHECKS: tuple[FileCheck, ...] = (
    files.oversized,
    files.unended,
    files.unfinished,
    files.machine_path,
    files.registry_host,
)


def name_of(check: SourceCheck | FileCheck) -> str:
    """The name under which a check stands in `exceptions.ALLOWED` and in the test's id."""
    return check.__name__
