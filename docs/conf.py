"""Settings of the documentation site: `sphinx-build -W --keep-going -n -b html docs site`."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path

import click
from sphinx.application import Sphinx

import predictd

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
# Where pages call predictd as a command.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

project = "predictd"
author = "The predictd developers"
version = release = predictd.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "reference_pages",
]
exclude_patterns = ["build"]
# Of names that are not public, or that other projects document, which no network is asked for.
nitpick_ignore_regex = [("py:.*", r"(?!predictd\.(network\.|plot\.|errors\.)?\w+$).*")]

# Markdown as a forge shows it, too.
myst_heading_anchors = 4
myst_url_schemes = ("http", "https", "mailto")
# Pages with cells of code are run, apart from the notebook: it has its outputs, and a test of its own.
nb_execution_mode = "auto"
nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 200
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "predictd"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_sidebars = {page: [] for page in ("index", "gallery", "changelog")}
html_show_sourcelink = False
html_copy_source = False

# Pages that lie beside what they describe, by the page that they are on the site.
ELSEWHERE = {
    "slurm": "slurm/README.md",
    "containers": "containers/README.md",
    "snakemake": "workflow/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
}
_PAGES = {"README.md": "index", **{path: page for page, path in ELSEWHERE.items()}}
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    """Take the text of pages from elsewhere, and lead links between Markdown files to pages of the site."""
    if page in ELSEWHERE:
        app.env.note_dependency(str(ROOT / ELSEWHERE[page]))
        content[0] = (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")
    folder = posixpath.dirname(ELSEWHERE.get(page, f"docs/{page}"))

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        target = f"docs/{_PAGES[target]}.md" if target in _PAGES else target
        here = posixpath.dirname(f"docs/{page}")
        return f"]({posixpath.relpath(target, here)}{link[2] or ''})"

    if app.env.doc2path(page).suffix == ".md":
        content[0] = _LINK.sub(lead, content[0])


def escape_help(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Show stars of help texts as they are."""
    lines[:] = [re.sub(r"(?<!\*)\*(?!\*)", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", escape_help)


# Options of commands keep their two hyphens.
smartquotes = False

# Blocks that name no language are commands and tables.
highlight_language = "none"
