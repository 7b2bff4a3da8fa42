"""Links of some targets only: those of the whole run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import predictd
from commands import call_predictd
from folders import same_files
from made_networks import N_GENES, simulate_expression, write_network_case
from predictd.config import NetworkSettings
from predictd.errors import DataError, OutputError
from predictd.grn.linear import standardised
from predictd.grn.methods import DEFAULT_TREES, METHODS
from predictd.grn.multi import group_targets
from predictd.provenance import EngineInfo
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import read_links
from predictd.workflows.network.tasks import InferenceTask, time_pilot, write_prepared
from refusals import refused

TARGETS = ["G20", "G3", "G9", "G17"]
IN_ORDER = ("G3", "G9", "G17", "G20")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """expression.tsv, regulators.txt, targets.txt. Read only."""
    path = tmp_path_factory.mktemp("case")
    write_network_case(path)
    (path / "targets.txt").write_text("\n".join(TARGETS) + "\n")
    return path


def plan(case, output, method="pearson", targets=None):
    trees = 30 if method in DEFAULT_TREES else None
    settings = NetworkSettings(method=method, trees=trees)
    regulators = case / "regulators.txt"
    return Inference(case / "expression.tsv", output, settings, regulators=regulators, targets=targets)


def lines_of(folder):
    return (folder / "links.tsv").read_text().splitlines()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "multi"])
def test_links_are_those_of_the_whole_run(method, case, tmp_path, engine):
    plan(case, tmp_path / "all", method).make_all(engine)
    report = plan(case, tmp_path / "some", method, TARGETS).make_all(engine)
    header, *rows = lines_of(tmp_path / "all")
    kept = [row for row in rows if row.split("\t")[1] in TARGETS]
    assert lines_of(tmp_path / "some") == [header, *kept]
    whole, (some, _) = read_links(tmp_path / "all")[0], read_links(tmp_path / "some")
    assert some.targets == IN_ORDER and report.n_targets == 4 and report.n_links == len(kept)
    place = [whole.targets.index(target) for target in IN_ORDER]
    own = np.concatenate([np.arange(whole.indptr[t], whole.indptr[t + 1]) for t in place])
    for name in ("indices", "importances", "signs"):
        assert getattr(some, name).tobytes() == getattr(whole, name)[own].tobytes()


def test_forests_of_several_targets_are_shared_among_the_chosen(case, tmp_path, engine):
    places = np.arange(4, N_GENES, 4)
    chosen = [f"G{i}" for i in places]
    inference = plan(case, tmp_path / "some", "multi", chosen)
    inference.make_all(engine)
    assert read_links(tmp_path / "some")[0].targets == tuple(chosen)
    _, expression, _ = simulate_expression()
    groups = group_targets(standardised(expression[places]), np.array([0]), seed=0)
    numbers = inference._problem.groups
    assert {tuple(places[group]) for group in groups} == {
        tuple(np.flatnonzero(numbers == number)) for number in range(len(groups))
    }
    assert (np.delete(numbers, places) == -1).all()


def test_parts_give_the_same_bytes(case, tmp_path, engine):
    parts = plan(case, tmp_path / "parts", targets=case / "targets.txt")
    assert parts.n_parts == 4
    for part in range(4):
        assert parts.make([part], engine) == [part]
    parts.finish(engine)
    plan(case, tmp_path / "whole", targets=case / "targets.txt").make_all(engine)
    assert same_files(tmp_path / "whole", tmp_path / "parts") == ["links.tsv", "network.h5", "run.json"]
    told = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert told["results"]["targets"] == 4 and str(case / "targets.txt") in told["inputs"]
    with pytest.raises(OutputError, match=r"holds network\.h5 already, made differently"):
        plan(case, tmp_path / "whole", targets=TARGETS[:2]).make([0], engine)


def test_the_command_line_takes_names_and_files(case, tmp_path):
    given = ("network", "infer", case / "expression.tsv", "--method", "pearson", "--workers", 1, "--targets")
    for folder, targets in (("file", case / "targets.txt"), ("names", ", ".join(TARGETS))):
        done = call_predictd(*given, targets, "-o", folder, cwd=tmp_path)
        assert done.returncode == 0 and "warning" not in done.stderr
        assert "links from 24 regulators to 4 genes" in done.stdout
    assert lines_of(tmp_path / "file") == lines_of(tmp_path / "names")
    done = call_predictd(*given, "absent.txt", "-o", "absent", cwd=tmp_path)
    assert done.returncode == 2 and "there is no file absent.txt" in done.stderr


def test_targets_that_the_matrix_lacks_are_told(case, tmp_path, engine, caplog):
    plan(case, tmp_path / "net", targets=["G1", "NOT1"]).make_all(engine)
    assert "1 of the 2 targets are not in" in caplog.text and "NOT1" in caplog.text
    told = json.loads((tmp_path / "net" / "run.json").read_text())
    assert told["results"]["missing_targets"] == ["NOT1"]
    with refused(DataError, "none of the 1 targets in the list (NOT1) is a gene of"):
        plan(case, tmp_path / "none", targets=["NOT1"])


def test_python_takes_targets(case, engine):
    pytest.importorskip("pandas")
    given = {"regulators": case / "regulators.txt", "method": "clr", "engine": engine}
    whole = predictd.network.infer(case / "expression.tsv", **given)
    for targets in (TARGETS, case / "targets.txt"):
        some = predictd.network.infer(case / "expression.tsv", targets=targets, **given)
        assert some.equals(whole[whole["target"].isin(TARGETS)].reset_index(drop=True))


def test_a_pilot_takes_time_for_targets_alone(case, tmp_path, engine, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "predictd.grn.methods._Multi.importances", lambda self, gene: asked.append(gene) or np.zeros(6)
    )
    inference = plan(case, tmp_path / "net", "multi", TARGETS)
    prepared = tmp_path / "prepared.h5"
    write_prepared(prepared, inference._problem, inference._targets.order, "multi")
    shared = InferenceTask(prepared, inference.job, inference._settings, 0, EngineInfo.of(engine))
    assert time_pilot(1, shared) >= 0 and set(asked) == {3, 9, 17, 20}
