"""The laws over the package for TypeScript, and for each a fault that it must find."""

import pytest

from tests.tidy.source import ROOT, repository_files
from tests.tidy.typescript import SOURCES, complaints, crowded

HEAD = "/** What it owns. */\n"
LONG = "function f() {\n" + "  x();\n" * 60 + "}\n"
METHOD = "class A {\n  async #f(a: string): Promise<void> {\n" + "    x();\n" * 60 + "  }\n}\n"
PLANTED = (
    ("wire/http.ts", "const x = 1;\n", "begin it with a comment"),
    ("wire/http.ts", HEAD + "x();\n" * 400, "401 lines"),
    ("wire/http.ts", HEAD + LONG, ":2: 62 lines"),
    ("wire/http.ts", HEAD + METHOD, ":3: 62 lines"),
    ("wire/http.ts", HEAD + 'import { Run } from "../record/run.js";\n', "is not below it"),
    ("api/client.ts", HEAD + 'import type {\n  Run,\n} from "../record/run.js";\n', "is not below it"),
    ("api/client.ts", HEAD + 'export * from "../node.js";\n', "is not below it"),
    ("wire/http.ts", HEAD + 'import { z } from "zod";\n', "no dependencies"),
    ("wire/http.ts", HEAD + 'import { readFile } from "node:fs";\n', "no dependencies"),
)
LAWFUL = (
    ("wire/http.ts", HEAD + 'import { a } from "./errors.js";\nimport type { P } from "../platform.js";\n'),
    ("ai/model.ts", HEAD + 'import type { Run } from "../node.js";\n' + LONG.replace("  x();\n", "", 3)),
    ("api/schema.ts", "// Written by a tool\n" + "x();\n" * 900),
)


def sources() -> dict[str, str]:
    paths = [path for path in repository_files() if path.startswith(SOURCES) and path.endswith(".ts")]
    return {path: (ROOT / path).read_text() for path in paths}


def test_the_package_keeps_the_laws() -> None:
    found = [words for path, text in sources().items() for words in complaints(path, text)]
    assert not found, "\n".join(found)
    assert not list(crowded(sources()))


@pytest.mark.parametrize(("path", "text", "words"), PLANTED)
def test_a_breach_is_found(path: str, text: str, words: str) -> None:
    (found,) = complaints(SOURCES + path, text)
    assert words in found


@pytest.mark.parametrize(("path", "text"), LAWFUL)
def test_what_is_lawful_passes(path: str, text: str) -> None:
    assert not list(complaints(SOURCES + path, text))


def test_a_crowded_folder_is_found() -> None:
    (found,) = crowded(f"{SOURCES}wire/m{number}.ts" for number in range(15))
    assert "15 modules" in found
