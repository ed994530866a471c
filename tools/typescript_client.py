"""Writes the parts of the package for TypeScript that other parts of the project already say.

    python tools/typescript_client.py          # writes them
    python tools/typescript_client.py check    # ends with 1 and names them, if they are out of date

* `clients/typescript/src/api/schema.ts`: types of the API, from our OpenAPI document, by `openapi-typescript`. Of the
  document only what the package uses: all of it would be 15,000 lines.
* `clients/typescript/src/values/usage_forms.ts`: how providers tell what a call has used, from the SDK for Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.routes import RouteTable
from towerlog.dialects import DIALECTS
from towerlog.dialects.native import NATIVE
from towerlog.provider_usage import terms as usage_terms
from towerlog.provider_usage.forms import FORMS, NO_FURTHER, OF_MONEY, Form

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "clients" / "typescript"
SCHEMA = PACKAGE / "src" / "api" / "schema.ts"
USAGE_FORMS = PACKAGE / "src" / "values" / "usage_forms.ts"
USED = (
    "CancelBody",
    "CreatedReply",
    "DeltaData",
    "FrameData",
    "FullRow",
    "InputBody",
    "RunBody",
    "RunDetail",
    "TimedData",
)
"""Schemas that `src/api` names. Those that they are made of are taken with them."""
HEAD = "// Written by tools/typescript_client.py: change its source, then run it.\n"
REF = "#/components/schemas/"


def main(arguments: list[str]) -> int:
    written = {SCHEMA: schema(), USAGE_FORMS: usage_forms()}
    if arguments == ["check"]:
        stale = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
        sys.stdout.writelines(f"{path.relative_to(ROOT)} is out of date: run {Path(__file__).name}\n" for path in stale)
        return 1 if stale else 0
    for path, text in written.items():
        path.write_text(text)
    return 0


def schema() -> str:
    """The types, by the program that the package's `node_modules` have."""
    program = PACKAGE / "node_modules" / ".bin" / "openapi-typescript"
    with tempfile.TemporaryDirectory() as folder:
        document, made = Path(folder) / "openapi.json", Path(folder) / "schema.ts"
        document.write_text(json.dumps(used_part()))
        subprocess.run([str(program), str(document), "-o", str(made)], check=True, capture_output=True)
        return HEAD + made.read_text()


def used_part() -> dict[str, Any]:
    """Our OpenAPI document with nothing but the schemas that the package uses, without their examples."""
    table = RouteTable((*DIALECTS, NATIVE), Pages(metrics_public=False).routes(), NATIVE)
    whole = json.loads(msgspec.json.encode(build_document(table)))
    schemas: dict[str, Any] = whole["components"]["schemas"]
    kept: dict[str, Any] = {}
    left = [*USED]
    while left:
        name = left.pop()
        if name not in kept:
            kept[name] = without_examples(schemas[name])
            left += refs_in(schemas[name])
    parts = {"schemas": dict(sorted(kept.items()))}
    return {
        "openapi": whole["openapi"],
        "info": {"title": "Towerlog", "version": "0"},
        "paths": {},
        "components": parts,
    }


def refs_in(value: Any) -> list[str]:
    """Names of the schemas that a part of the document refers to."""
    if isinstance(value, list):
        return [name for item in value for name in refs_in(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("$ref")
    here = [own.removeprefix(REF)] if isinstance(own, str) and own.startswith(REF) else []
    return here + [name for member in value.values() for name in refs_in(member)]


def without_examples(value: Any) -> Any:
    """A schema as types need it."""
    if isinstance(value, list):
        return [without_examples(item) for item in value]
    if not isinstance(value, dict):
        return value
    # A property may be called so, and is a schema then.
    return {
        name: without_examples(member)
        for name, member in value.items()
        if name not in ("examples", "example", "title") or isinstance(member, dict)
    }


def usage_forms() -> str:
    """The table of forms, as a module."""
    members = {name: camel(name) for name in Form._fields}
    lines = [
        HEAD + "/** How providers and frameworks tell what a call has used; `usage.ts` reads it. */\n",
        "export interface Form {",
        "  /** Members, one of which shows the form. */",
        "  readonly marks: readonly string[];",
        *(f"  readonly {members[name]}: readonly string[];" for name in Form._fields[1:] if not name.startswith("is_")),
        *(f"  readonly {members[name]}: boolean;" for name in Form._fields if name.startswith("is_")),
        "}\n",
        "/** In the order in which they are tried. A dot leads inside, a plus adds. */",
        "export const FORMS: readonly Form[] = [",
    ]
    for form in FORMS:
        lines.append("  {")
        lines += [f"    {members[name]}: {json.dumps(value)}," for name, value in form._asdict().items()]
        lines.append("  },")
    lines += [
        "];\n",
        f"export const NO_FURTHER: readonly string[] = {json.dumps(sorted(NO_FURTHER))};",
        f"export const OF_MONEY: readonly string[] = {json.dumps(OF_MONEY)};",
        *terms(),
    ]
    return "\n".join(lines) + "\n"


def terms() -> list[str]:
    """Where what a price goes by stands."""
    parts = [f"  {name}: {json.dumps(paths)}," for name, paths in usage_terms.PARTS.items()]
    return [
        "/** Part of a bucket → where it may stand. In brackets, which of the items of a list are added up. */",
        "export const PARTS: Readonly<Record<string, readonly string[]>> = {",
        *parts,
        "};",
        f"export const OF_CACHE: Readonly<Record<string, string>> = {json.dumps(usage_terms.OF_CACHE)};",
        f"export const TIERS: readonly string[] = {json.dumps(usage_terms.TIERS)};",
        "/** Terms → members, any of which shows them. */",
        f"export const TIER_MARKS: Readonly<Record<string, readonly string[]>> = {json.dumps(usage_terms.TIER_MARKS)};",
        f"export const STANDARD: readonly string[] = {json.dumps(sorted(usage_terms.STANDARD))};",
        f"export const COST: readonly string[] = {json.dumps(usage_terms.COST)};",
        f"export const COST_PARTS: readonly (readonly string[])[] = {json.dumps(usage_terms.COST_PARTS)};",
        f"export const GEO = {json.dumps(usage_terms.GEO)};",
        f"export const ANYWHERE: readonly string[] = {json.dumps(sorted(usage_terms.ANYWHERE))};",
        f"export const TICKS = {json.dumps(usage_terms.TICKS)};",
        f"export const TICKS_PER_DOLLAR = {usage_terms.TICKS_PER_DOLLAR};",
        f"export const UPSTREAM = {json.dumps(usage_terms.UPSTREAM)};",
        f"export const IS_OWN_KEY = {json.dumps(usage_terms.IS_OWN_KEY)};",
    ]


def camel(name: str) -> str:
    """A name as TypeScript spells it."""
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
