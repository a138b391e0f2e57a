"""Hooks of MkDocs: the site's pages are the project's Markdown files, named by their places in the repository.

MkDocs wants all pages below one folder; ours lie beside what they describe, and link to each other as the code host
wants it. So each is a page by its path from the root, and each file that a page links to comes along.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

_specification = importlib.util.spec_from_file_location("check_documents", ROOT / ".ci" / "check_documents.py")
assert _specification is not None
assert _specification.loader is not None
check_documents = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(check_documents)

#: The first page.
HOME = "README.md"
_MERMAID = re.compile(r"^```mermaid$", re.MULTILINE)


def linked_files(document: Path) -> set[Path]:
    """Files of the project, other than pages, that a page links to or shows."""
    found = set()
    for target in check_documents.links(document.read_text(encoding="utf-8")):
        path = (document.parent / target.partition("#")[0]).resolve()
        if path.is_file() and path.suffix != ".md" and path.is_relative_to(ROOT):
            found.add(path)
    return found


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site: pages of docs/ at the top, others in their folders."""
    if path == HOME:
        return "index.html"
    inner = path.removeprefix("docs/")
    return re.sub(r"\.md$", ".html", re.sub(r"(^|/)README\.md$", r"\1index.html", inner))


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """The theme's own files, and ours from all over the repository."""
    theirs = [file for file in files if file.src_dir != config.docs_dir]
    documents = check_documents.documents(ROOT)
    paths = sorted({*documents, *(linked for document in documents for linked in linked_files(document))})
    ours = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        ours.append(File(name, str(ROOT), config.site_dir, use_directory_urls=False, dest_uri=site_path(name)))
    return Files([*theirs, *ours])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Diagrams that the code host draws stand as their text, since drawing them here would load a program."""
    return _MERMAID.sub("```text", markdown)
