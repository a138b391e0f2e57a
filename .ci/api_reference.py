"""docs/api-reference.md, made from the API's own OpenAPI: `python .ci/api_reference.py` writes it, `--check` compares.

What a route says of itself is its docstring; here it is only set out. `make check` runs the comparison.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convoy_controller.api.access import InProcess
from convoy_controller.api.app import create_app
from convoy_controller.database.engine import open_database
from convoy_controller.home import Home

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "api-reference.md"

HEAD = """\
# The REST API, route by route

Made from the API's own OpenAPI (`make reference`), which a running one serves as `/api/v1/openapi.json`.
[api.md](api.md) says who may ask, how lists and errors look, and shows each with curl. Paths are below `/api/v1`; every
route may also answer with a problem (`application/problem+json`).
"""


def openapi() -> dict[str, Any]:
    """The document, of an application over an empty fleet."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home.locate(Path(folder), environment={})
        database = open_database(home.database_url)
        try:
            return create_app(database, home, InProcess()).openapi()
        finally:
            database.close()


def rendered(document: dict[str, Any]) -> str:
    """The page."""
    lines = [HEAD]
    tags = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    for tag, about in tags.items():
        lines.append(f"## {tag.capitalize()}\n\n{about}\n" if about else f"## {tag.capitalize()}\n")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if (operation.get("tags") or [""])[0] == tag:
                    lines.append("\n".join(_operation(path, method, operation)))
    lines.append("## Bodies\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines.append("\n".join(_body(name, schema)))
    return "\n".join(lines).rstrip() + "\n"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path.removeprefix('/api/v1')}\n"
    yield f"`{operation['operationId']}`\n"
    said = operation.get("description") or operation.get("summary", "")
    if said:
        yield f"{_flat(said)}\n"
    rows = [*_parameters(operation), *_bodies(operation), *_answers(operation)]
    if rows:
        yield "| | | |\n|---|---|---|"
        yield from rows
        yield ""


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        needed = ", required" if parameter.get("required") and parameter["in"] != "path" else ""
        about = _flat(parameter.get("description", ""))
        yield (
            f"| {parameter['in']} | `{parameter['name']}` | {_type(parameter['schema'])}{needed}. {about}".rstrip()
            + " |"
        )


def _bodies(operation: dict[str, Any]) -> Iterator[str]:
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"| body | `{media}` | {_type(content.get('schema', {}))} |"


def _answers(operation: dict[str, Any]) -> Iterator[str]:
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2"):
            for media, content in (answer.get("content") or {"": {}}).items():
                yield f"| {status} | {f'`{media}`' if media else ''} | {_type(content.get('schema', {}))} |"


def _body(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{_flat(schema['description'])}\n"
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n"
    if schema.get("properties"):
        yield "| key | type | |\n|---|---|---|"
        for key, each in schema["properties"].items():
            needed = "" if key in schema.get("required", []) else "may be left out. "
            yield f"| `{key}` | {_type(each)} | {needed}{_flat(each.get('description', ''))} |"
        yield ""


def _type(schema: dict[str, Any]) -> str:
    """In words, with a link to the body that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{re.sub(r'[^a-z0-9_-]', '', name.lower())})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(_type(each) for each in schema[key])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    bounds += [f"{word} {schema[key]} characters" for key, word in (("maxLength", "at most"),) if key in schema]
    return " ".join([str(schema.get("format") or kind), *bounds])


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the page, or say that it is not what the code says."""
    text = rendered(openapi())
    if "--check" not in sys.argv[1:]:
        DOCUMENT.write_text(text, encoding="utf-8")
        return 0
    if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        print("docs/api-reference.md is not what the API says of itself: run `make reference`", file=sys.stderr)
        return 1
    print("API reference: docs/api-reference.md is what the OpenAPI says.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
