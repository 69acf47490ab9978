"""What `mkdocs build` makes pages of: README and docs/ as they are, and every file of the repository they link to.

The documents link to one another, to reports of benchmarks, to tests and to configs by relative paths, as GitHub shows
them. So paths on the site begin at the root of the repository too. A source file becomes a page with its text.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FIRST = ("*.md", "docs/**/*.md", "docs/*.css")
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")
AS_THEY_ARE = (".png", ".jpg", ".webp", ".svg", ".css")
FENCE = "~" * 8
LANGUAGES = {".py": "python", ".toml": "toml", ".ipynb": "python"}


class _TwoSpaces(Extension):
    """A list's second paragraph is indented by two spaces, as GitHub reads it, not by Python-Markdown's four."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Python-Markdown's name
        """Called by Python-Markdown."""
        md.tab_length = 2


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists as GitHub reads them; pages that the navigation does not name stand under More."""
    config.markdown_extensions.append(_TwoSpaces())  # pyright: ignore[reportArgumentType] - Markdown takes objects too
    nav: list[Any] = config.nav or []
    named = set(re.findall(r"'([^']+\.md)'", repr(nav)))
    further = [path for path in sorted(_paths("docs/*.md")) if path not in named]
    if further:
        nav.append({"More": further})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files, and ours by their paths in the repository."""
    ours = [_file(path, config) for path in sorted(linked_files())]
    return Files([*(file for file in files if file.src_dir != config.docs_dir), *ours])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to source files lead to their pages."""

    def lead(match: re.Match[str]) -> str:
        target = _target(page.file.src_uri, match[2])
        return f"{match[1]}{match[2]}.md" if _is_source(target) else match[0]

    return LINK.sub(lead, markdown)


def linked_files() -> set[str]:
    """README, docs/ and all that can be reached from them by links: paths from the root of the repository."""
    found, waiting = set[str](), {path for pattern in FIRST for path in _paths(pattern)}
    while waiting:
        found |= waiting
        pages = [path for path in waiting if path.endswith(".md")]
        targets = {
            _target(page, match[2]) for page in pages for match in LINK.finditer((ROOT / page).read_text("utf-8"))
        }
        waiting = {target for target in targets if (ROOT / target).is_file()} - found
    return found


def _paths(pattern: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}


def _target(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _is_source(path: str) -> bool:
    return not path.endswith((".md", *AS_THEY_ARE)) and (ROOT / path).is_file()


def _file(path: str, config: MkDocsConfig) -> File:
    if not _is_source(path):
        return File.generated(config, path, abs_src_path=str(ROOT / path))
    return File.generated(config, f"{path}.md", content=_source_page(path))


def _source_page(path: str) -> str:
    """The text of a source file; of a notebook, its cells."""
    text = (ROOT / path).read_text(encoding="utf-8")
    head = f"---\nsearch: {{exclude: true}}\n---\n# {path}\n"
    if path.endswith(".ipynb"):
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    else:
        cells = [("code", text)]
    language = LANGUAGES.get(Path(path).suffix, "text")
    blocks = [text if kind == "markdown" else f"{FENCE}{language}\n{text}\n{FENCE}" for kind, text in cells]
    return "\n\n".join([head, *blocks, ""])
