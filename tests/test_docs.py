"""The documentation: links lead somewhere; the site is built without a warning and has every public name."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

import predictd
from predictd.cli import cli
from predictd.config import Config

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "node_modules" for part in page.relative_to(ROOT).parts)
)
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What forges make of headings: small letters, digits, _ and -, with - for blanks."""
    headings = (heading.replace("`", "") for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere, or are no addresses."""
    for link in _LINK.findall(_CODE.sub("", prose(page))):
        parts = urlsplit(link)
        if parts.scheme:
            host = parts.hostname or ""
            if parts.scheme != "https" or "." not in host or link[-1] in ".,;:":
                yield link
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (parts.fragment and parts.fragment not in anchors(target)):
            yield link


def test_links_lead_somewhere():
    assert {str(page.relative_to(ROOT)): found for page in PAGES if (found := list(faults(page)))} == {}


def test_links_that_lead_nowhere_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# The other, `page`\n\n```\n# not one\n```\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#the-other-page) [c](https://a.org/b) [d](#here) `[e](none.md)`\n\n## Here\n"
    bad = [
        "none.md",
        "other.md#not-one",
        "#there",
        "http://a.org",
        "https://localhost/x",
        "https://a.org.",
        "../x",
    ]
    page.write_text(good + " ".join(f"[x]({link})" for link in bad))
    assert list(faults(page)) == bad


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as strictly as it can be."""
    for module in (
        "sphinx",
        "myst_nb",
        "numpydoc",
        "pydata_sphinx_theme",
        "sphinx_click",
        "sphinx_copybutton",
    ):
        pytest.importorskip(module, reason="predictd[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-n",
            "-q",
            "-b",
            "html",
            ROOT / "docs",
            folder,
        ],
        capture_output=True,
        text=True,
        # Not in the clone, whose own folder would come before the package that is installed.
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(predictd.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return folder


def inventory(site: Path) -> dict[str, set[str]]:
    """Names that the site documents, by their kind."""
    from sphinx.util.inventory import InventoryFile

    loaded = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {kind: set(names) for kind, names in loaded.data.items()}


@pytest.mark.docs
def test_the_reference_has_every_public_name(site):
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    public = {name for name, _ in pages.public_names()}
    assert {
        "predictd.Tensor",
        "predictd.train",
        "predictd.plot.region",
        "predictd.errors.TableError",
    } <= public
    found = set().union(*(names for kind, names in inventory(site).items() if kind.startswith("py:")))
    assert public - found == set()


@pytest.mark.docs
def test_the_reference_has_every_option_of_every_command(site):
    def options(group: click.Group, path: str) -> Iterator[str]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from options(command, f"{path}-{name}")
                continue
            for option in command.params:
                if isinstance(option, click.Option) and not option.hidden:
                    yield f"{path}-{name}.{max(option.opts, key=len)}"

    expected = set(options(cli, "predictd"))
    assert len(expected) > 200 and expected - inventory(site)["std:cmdoption"] == set()


@pytest.mark.docs
def test_the_reference_has_every_setting(site):
    text = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    groups = [Config.model_json_schema(), *Config.model_json_schema()["$defs"].values()]
    keys = {key for group in groups for key, field in group["properties"].items() if "$ref" not in field}
    assert len(keys) > 30 and {key for key in keys if f">{key}</span>" not in text} == set()


@pytest.mark.docs
def test_pages_from_elsewhere_are_on_the_site(site):
    for page, words in [
        ("slurm", "cv-array.sbatch"),
        ("changelog", "Unreleased"),
        ("snakemake", "impute_part"),
    ]:
        assert words in (site / f"{page}.html").read_text(encoding="utf-8")
    assert "GENIE3" in (site / "index.html").read_text(encoding="utf-8")
