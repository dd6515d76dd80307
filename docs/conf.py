"""The site of the documentation: every markdown page of the repository as it lies there, its links and anchors checked."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt
from sphinx.application import Sphinx

project = "clip-bench"
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["**.md"]
exclude_patterns = [".*", "build", "dist", "tests"]
myst_heading_anchors = 6  # GitHub's, of every heading
highlight_language = "none"
html_theme_options = {"body_max_width": "none", "page_width": "1200px"}
html_copy_source = False
smartquotes = False  # two hyphens begin an option
linkcheck_timeout = 20


def setup(app: Sphinx) -> None:
    """Sphinx asks for this name."""
    app.connect("source-read", _contents)


def _contents(app: Sphinx, name: str, source: list[str]) -> None:
    """The order of the site is that of the links of its first page, which needs no directive that GitHub would print."""
    if name == app.config.root_doc:
        pages = "\n".join(
            [*_linked(app.srcdir / "docs", source[0]), "/docs/runners/**", "/clip_bench/**", "/reports/**"]
        )
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{pages}\n```\n"


def _linked(folder: Path, text: str) -> list[str]:
    """The pages that *text*, which lies in *folder*, links to, each once."""
    tokens = [child for token in MarkdownIt().parse(text) for child in token.children or ()]
    links = [str(token.attrs["href"]).partition("#")[0] for token in tokens if token.type == "link_open"]
    return list(dict.fromkeys(_document(folder, link) for link in links if link.endswith(".md")))


def _document(folder: Path, link: str) -> str:
    """As a table of contents names it: from the root of the repository, without its ending."""
    root = folder.parent
    return f"/{(folder / link).resolve().relative_to(root.resolve()).with_suffix('').as_posix()}"
