"""The documentation site is whole and loads nothing from other hosts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # it builds the site, which `make check` does as well

ROOT = Path(__file__).resolve().parents[2]
#: What a browser would fetch by itself; a link that a reader follows is none.
_LOADED = re.compile(r"<(?:script|img|iframe|source|object|embed)[^>]*(?:src|data)=\"?(?:https?:)?//[^\">\s]+")
_SHEET = re.compile(r"<link[^>]*rel=\"?(?:stylesheet|icon|preconnect|preload)\"?[^>]*href=\"?(?:https?:)?//[^\">\s]+")


def build(folder: Path, configuration: Path) -> "subprocess.CompletedProcess[str]":
    """Run mkdocs as `make check` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", configuration, "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(folder, ROOT / "mkdocs.yml")
    assert built.returncode == 0, built.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    names = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert {"index.html", "architecture.html", "hls/index.html", "CHANGELOG.html", "reference/client.html"} <= names


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = {page.name: found for page in pages for text in [page.read_text()] for found in _found(text)}
    assert loaded == {}


def _found(text: str) -> list[str]:
    # Mermaid is fetched for elements of that class, so there may be none.
    return [*_LOADED.findall(text), *_SHEET.findall(text), *re.findall(r'class="?mermaid\b', text)]


def test_the_reference_has_what_the_docstrings_say(site: Path) -> None:
    text = (site / "reference" / "client.html").read_text()
    assert "convoy.Client.infer" in text
    assert "all its retries included" in text
