"""Optional parts: what they are for, what of them is there, and how each is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from predictd.config import tomllib
from predictd.wording import EXTRAS
from predictd.workflows import doctor

ROOT = Path(__file__).resolve().parents[1]
# For those who work on predictd.
OWN = {"bench", "dev", "docs", "lint", "test"}


@pytest.fixture(scope="module")
def declared() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_every_extra_has_a_purpose(declared):
    assert set(declared) - OWN == set(EXTRAS)
    assert all(EXTRAS.values())


def test_doctor_lists_the_packages_of_each_extra(declared, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: as_metadata(declared))
    monkeypatch.setattr(
        doctor, "package_version", lambda name: None if name in ("fsspec", "optuna") else "1.2"
    )
    told = dict(doctor._extras())
    assert told["[report]"] == "reports and figures: matplotlib 1.2"
    assert told["[tune]"] == "the search for settings: optuna is missing; pip install 'predictd[tune]'"
    assert told["[cloud]"] == (
        "s3:// and abfs:// paths: adlfs 1.2, fsspec is missing, s3fs 1.2; pip install 'predictd[cloud]'"
    )
    assert list(told) == [f"[{extra}]" for extra in EXTRAS]
    for extra in EXTRAS:
        for requirement in declared[extra]:
            assert re.split(r"[<>=\[]", requirement)[0] in told[f"[{extra}]"]


def test_extras_that_an_older_installation_does_not_know(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: None)
    assert dict(doctor._extras())["[tune]"] == "the search for settings: pip install 'predictd[tune]'"


def as_metadata(declared: dict[str, list[str]]) -> list[str]:
    """Requirements as an installed package lists them."""
    return ["numpy>=1.24", 'tomli>=2.0; python_version < "3.11"'] + [
        f'{requirement}; extra == "{extra}"' for extra, wanted in declared.items() for requirement in wanted
    ]


def test_extras_are_named_in_one_way(declared):
    """In messages, help and documentation: in quotes, and of an extra that there is."""
    named = []
    for path in [*(ROOT / "predictd").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        for match in re.finditer(r"pip install [^\n`]*\[\w+\][^\s`)\"]?", path.read_text()):
            found = re.fullmatch(r"pip install '(?:predictd|\.)\[([\w,]+)\]'", match[0])
            assert found, f"{path}: {match[0]}"
            named += found[1].split(",")
    assert set(named) <= set(declared) and "report" in named
    sources = "\n".join(path.read_text() for path in (ROOT / "predictd").rglob("*.py"))
    by_helper = set(re.findall(r"(?:install\(|\", extra=|EXTRA = )['\"](\w+)['\"]", sources))
    assert by_helper == set(EXTRAS)
