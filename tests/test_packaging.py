"""The repository's outside: its documents, its modules' size and docstrings, and the commands it promises."""

import ast
import importlib.util
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("schema", "device", "controller", "client", "bitstreams", "models")
MODULES = [file for side in SIDES for file in sorted((ROOT / side).rglob("*.py"))]
#: Lines of a module: beyond this it is no longer one noun.
MOST_LINES = 600


def load(path: Path) -> ModuleType:
    """A script of .ci as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


check_documents = load(ROOT / ".ci" / "check_documents.py")


def test_every_module_says_what_it_is() -> None:
    silent = [str(file.relative_to(ROOT)) for file in MODULES if not ast.get_docstring(ast.parse(file.read_text()))]
    assert silent == []


def test_no_module_is_too_long() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by their bare names, as tests have no packages."""
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_package_is_typed_for_its_users() -> None:
    packages = [folder for side in SIDES for folder in (ROOT / side).iterdir() if (folder / "__init__.py").exists()]
    assert len(packages) >= len(SIDES)
    assert [folder.name for folder in packages if not (folder / "py.typed").exists()] == []


def test_the_changelog_has_an_unreleased_section() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(r"^## \[?Unreleased\]?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert re.search(r"^- \S", section[1], re.MULTILINE), "and it says something"


def test_the_readme_shows_its_two_commands_and_make_knows_them() -> None:
    text = (ROOT / "README.md").read_text()
    assert "\n$ make demo\n" in text
    assert '\n$ make demo ARGS="--kill"\n' in text
    environment = {**os.environ, "MAKEFLAGS": ""}
    for target in ("demo", "test", "check", "help"):
        command = ["make", "--dry-run", target, "ARGS=--kill"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_make_help_lists_every_target_with_a_sentence() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {**os.environ, "MAKEFLAGS": ""}
    said = subprocess.run(
        ["make", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert [target for target in targets if not re.search(rf"make {target} +\S", said)] == []


@pytest.mark.parametrize("script", [".ci/setup", ".ci/setup-root", ".ci/run"])
def test_scripts_parse_and_are_executable(script: str) -> None:
    shell = "bash" if script == ".ci/run" else "sh"
    assert subprocess.run([shell, "-n", str(ROOT / script)], check=False).returncode == 0
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[there](nowhere.md)", "link to nowhere.md: there is no such file"),
        ("[there](#nowhere)", "link to #nowhere: there is no such heading"),
        ("`make tea`", "`make tea`: the Makefile has no tea"),
        ("```\nmake demo && make tea\n```", "`make demo && make tea`: the Makefile has no tea"),
        ("`.ci/no-such-file`", "`.ci/no-such-file`: there is no such file"),
        ("`convoy_schema.nothing`", "`convoy_schema.nothing`: there is no such module or name"),
        ("`convoy_schema.link.Nothing`", "`convoy_schema.link.Nothing`: there is no such module or name"),
    ],
)
def test_a_document_that_names_what_is_not_there_is_found(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("demo: ## The demo\n")
    (tmp_path / ".ci").mkdir()
    (tmp_path / "a.md").write_text(f"# A heading\n\nText. {text}\n" if "```" not in text else f"# A\n\n{text}\n")
    assert list(check_documents.faults(tmp_path)) == [f"a.md: {fault}"]


def test_a_document_that_names_what_is_there_is_fine(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("demo: ## The demo\n")
    (tmp_path / "b.md").write_text("# Some Heading, here\n")
    (tmp_path / "a.md").write_text(
        "[b](b.md#some-heading-here), [site](https://example.org/x#y), `make demo`, `convoy_schema.link.Link.publish`\n"
        "\n```\n[not a link](nowhere)\n```\n"
    )
    assert list(check_documents.faults(tmp_path)) == []
