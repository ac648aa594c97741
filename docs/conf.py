"""How Sphinx makes the site of these plain Markdown pages: `make docs`. Its source directory is the repository's root.

So a page's links to CONTRIBUTING.md or to a file of results hold on the site as they do on GitHub. What a page cannot
have as plain Markdown is added here while it is read: navigation, which is what the front page lists, and docstrings.
"""

# ruff: noqa: ARG001  # Sphinx calls with these

import re
import sys
from pathlib import Path
from typing import Any

import g2is

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from write_llms import sections

project = "g2is"
release = g2is.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["docs/**", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = [".*", "benchmarks", "build", "demo-run", "dist", "runs", "scripts", "shared", "src", "tests"]
html_theme = "furo"
html_title = "g2is"
html_copy_source = False
myst_heading_anchors = 4  # GitHub's anchors
myst_fence_as_directive = ["mermaid"]
suppress_warnings = ["misc.highlighting_failure"]  # code that is cut short with … on purpose
autodoc_class_signature = "separated"
maximum_signature_line_length = 100
smartquotes = False
default_role = "code"  # in docstrings, `name` is code, as in Markdown

_API = "docs/api"
_NAME = re.compile(r"^\| `g2is\.(\w+)` \|", re.MULTILINE)
_SETTINGS = ("Config", "SelectionConfig")  # whose fields docs/settings.md lists
_COLUMNS = re.compile(r"\w+ {2,}\S")


def complete(app: Any, docname: str, content: list[str]) -> None:
    """Add the navigation to the front page, and the docstrings to the page of Python."""
    if docname == root_doc:
        for title, pages in sections(content[0]).items():
            content[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
    if docname == _API:
        content[0] += "\n## Every name in full\n" + "".join(map(directive, _NAME.findall(content[0])))


def directive(name: str) -> str:
    """What shows a public name with its docstring."""
    is_class = isinstance(getattr(g2is, name), type)
    members = "\n   :members:" if is_class and name not in _SETTINGS else ""
    return f"\n```{{eval-rst}}\n.. auto{'class' if is_class else 'function'}:: g2is.{name}{members}\n```\n"


def keep_columns(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep the lines of a paragraph that is a list of names in columns; else they would be joined."""
    paragraphs = re.split(r"\n{2,}", "\n".join(lines))
    kept = ["::\n\n" + re.sub("^", "    ", of, flags=re.MULTILINE) if _COLUMNS.match(of) else of for of in paragraphs]
    lines[:] = "\n\n".join(kept).splitlines()


def begin_at_the_front_page(app: Any, error: Exception | None) -> None:
    """Lead from the site's root to its front page."""
    if error is None:
        (Path(app.outdir) / "index.html").write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html"><title>{project}</title>\n'
        )


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", keep_columns)
    app.connect("build-finished", begin_at_the_front_page)
