"""What stands around the package: workflows, hooks, citation, recipe, and that they agree with pyproject.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from predictd.config import tomllib
from predictd.wording import EXTRAS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / ".github").is_dir():
    pytest.skip("needs a clone of the repository", allow_module_level=True)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RECIPE = ROOT / "conda-recipe" / "recipe.yaml"
CITATION = ROOT / "CITATION.cff"
HOOKS = ROOT / ".pre-commit-config.yaml"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("yamllint") is None, reason="yamllint is not installed")
def test_yamllint():
    files = [*WORKFLOWS, RECIPE, CITATION, HOOKS]
    done = subprocess.run(["yamllint", "--strict", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("pre-commit") is None, reason="pre-commit is not installed")
def test_hooks_are_valid():
    done = subprocess.run(["pre-commit", "validate-config", HOOKS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hooks_are_the_checks_of_ci():
    """The commands of .ci/lint, but that hooks mend what can be."""
    checks = (ROOT / ".ci" / "lint").read_text().partition("cd ")[2].splitlines()[1:]
    mended = {"ruff check .": "ruff check --fix", "ruff format --check .": "ruff format"}
    (repository,) = load(HOOKS)["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == [mended.get(check, check) for check in checks]


# -- workflows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_read_alone(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert set(job.get("permissions", {})) <= ({"id-token"} if name == "publish" else set())
        for step in job["steps"]:
            # Pinned to a version.
            assert "run" in step or re.search(r"@(v[0-9.]+|release/v\d+)$", step["uses"])


def test_pull_requests_are_tested_on_every_python():
    workflow = load(ROOT / ".github" / "workflows" / "ci.yml")
    assert "pull_request" in workflow["on"] and workflow["concurrency"]["cancel-in-progress"] is True
    whole, light = workflow["jobs"]["all"], workflow["jobs"]["light"]
    assert whole["steps"][-1]["run"] == ".ci/run"
    assert [
        f"Programming Language :: Python :: {version}" for version in light["strategy"]["matrix"]["python"]
    ] == [line for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    install, test = (step["run"] for step in light["steps"][-2:])
    assert install == "pip install '.[dev]'"
    # As it is documented; the pages of the documentation, and what starts and kills processes, besides.
    quick = test.removesuffix('"') + ' and not docs and not processes"'
    assert quick in (ROOT / "CONTRIBUTING.md").read_text()


def test_wheels_are_built_for_the_pythons_that_are_promised():
    built = [name.removesuffix("-*") for name in PYPROJECT["tool"]["cibuildwheel"]["build"]]
    promised = [line.rsplit(".", 1)[1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert built == [f"cp3{minor}" for minor in promised]
    assert PROJECT["requires-python"] == f">=3.{promised[0]}"


# -- citation ---------------------------------------------------------------------------------------------------------


def test_citation():
    citation = load(CITATION)
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["type"] == "software"
    assert (citation["title"], citation["version"], citation["abstract"], citation["license"]) == (
        PROJECT["name"],
        PROJECT["version"],
        PROJECT["description"],
        PROJECT["license"]["text"],
    )
    assert citation["authors"] == PROJECT["authors"]
    methods = {f"https://doi.org/{reference['doi']}" for reference in citation["references"]}
    assert methods == set(PROJECT["urls"].values())
    for reference in citation["references"]:
        assert (
            reference["type"] == "article"
            and reference["title"]
            and reference["year"]
            and reference["journal"]
        )
        assert all(author["family-names"] and author["given-names"] for author in reference["authors"])


# -- conda ------------------------------------------------------------------------------------------------------------

# Packages that conda calls otherwise.
CONDA = {"pybigwig": "pybigwig", "igraph": "python-igraph", "matplotlib": "matplotlib-base"}


def as_conda(requirement: str) -> str:
    """A requirement as a recipe writes it, whatever Python it is for."""
    name, limits = re.fullmatch(r"([A-Za-z0-9_.-]+)([^;]*)(?:;.*)?", requirement).groups()  # type: ignore[union-attr]
    name = name.lower()
    return f"{CONDA.get(name, name)} {limits.strip()}"


def test_the_recipe_has_the_requirements_of_the_package():
    recipe = load(RECIPE)
    assert recipe["context"]["version"] == PROJECT["version"]
    wanted = recipe["requirements"]
    assert wanted["run"] == ["python", *sorted(map(as_conda, PROJECT["dependencies"]))]
    assert set(wanted["host"]) == {"python", "pip", *map(as_conda, PYPROJECT["build-system"]["requires"])}
    extras = PROJECT["optional-dependencies"]
    optional = sorted({as_conda(requirement) for extra in EXTRAS for requirement in extras[extra]})
    assert wanted["run_constraints"] == optional
    about = recipe["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"]["text"])
    assert about["homepage"] in PROJECT["urls"].values() and (ROOT / about["license_file"]).is_file()


# -- contributing -----------------------------------------------------------------------------------------------------


def test_what_contributors_are_told_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)
    assert len(named) >= 9
    assert all((ROOT / "predictd" / name).is_dir() for name in named)
    for path in re.findall(r"`((?:tests|workflows|model|cli)/[a-z_/.]+\.py)`", text):
        assert (ROOT / path).exists() or (ROOT / "predictd" / path).exists(), path
    for extra in re.findall(r"'\.\[([\w,]+)\]'", text):
        assert set(extra.split(",")) <= set(PROJECT["optional-dependencies"])
