"""Other input than tables, groups of targets, and held-out quality."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from commands import call_predictd
from folders import same_files
from made_networks import N_REGULATORS, simulate_expression, write_matrix, write_network_case
from predictd.config import NetworkSettings
from predictd.errors import DataError, TableError
from predictd.grn.linear import standardised
from predictd.grn.links import Links
from predictd.grn.methods import DEFAULT_TREES, METHODS, Problem, make_method
from predictd.grn.multi import MOST, group_importances, group_targets
from predictd.grn.quality import held_out_r2
from predictd.io.network.networks import read_network
from predictd.io.network.text import read_expression
from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment
from predictd.workflows.imputing.impute import Imputation
from predictd.workflows.network.activity import Activity, region_activity
from predictd.workflows.network.infer import Inference

# -- activity of regions -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regions(tmp_path_factory, tensor_path):
    """BED of 40 genes of about 12 bins; the first has two regions, the last lies outside. Read only."""
    path = tmp_path_factory.mktemp("regions") / "promoters.bed"
    tensor = Tensor(tensor_path)
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        chrom, first = shard.places.chrom, int(shard.places.runs[0, 0])
    lines = [
        f"{chrom}\t{(first + 30 * i) * 25 + 7}\t{(first + 30 * i) * 25 + 300}\tgene{max(i, 1)}"
        for i in range(41)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_activity_is_the_mean_signal_of_each_gene(regions, tensor_path):
    tensor = Tensor(tensor_path)
    assay = tensor.experiments[0].assay
    found = region_activity(Activity(tensor_path, regions, assay))
    cells = sorted(e.cell_type for e in tensor.experiments if e.assay == assay)
    assert found.samples == tuple(cells) and found.genes == tuple(f"gene{i}" for i in range(1, 41))
    columns = tensor.columns([Experiment(cell, assay) for cell in cells])
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        signal, first = shard.read()[:, columns].astype(np.float64), int(shard.places.runs[0, 0])
        assert first + 41 * 30 <= shard.n_bins
    np.testing.assert_allclose(found.values[5], np.nanmean(signal[180:192], axis=0), rtol=1e-12)
    two = np.concatenate([signal[:12], signal[30:42]])
    np.testing.assert_allclose(found.values[0], np.nanmean(two, axis=0), rtol=1e-12)


def test_a_bin_under_several_regions_of_a_gene_counts_once(tensor_path, tmp_path):
    tensor = Tensor(tensor_path)
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        chrom, start = shard.places.chrom, int(shard.places.runs[0, 0]) * 25
    spans = [("G", 0, 10), ("H", 4, 20), ("G", 5, 12), ("G", 6, 8), ("G", 30, 40)]
    lines = [f"{chrom}\t{start + 25 * low}\t{start + 25 * high}\t{gene} A\n" for gene, low, high in spans]
    (tmp_path / "regions.bed").write_text("".join(lines))
    assay = tensor.experiments[0].assay
    found = region_activity(Activity(tensor_path, tmp_path / "regions.bed", assay))
    assert found.genes == ("G A", "H A")
    columns = tensor.columns([Experiment(cell, assay) for cell in found.samples])
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        signal = shard.read(0, 40)[:, columns].astype(np.float64)
    for own, rows in zip(found.values, ([*range(12), *range(30, 40)], range(4, 20)), strict=True):
        np.testing.assert_allclose(own, np.nanmean(signal[list(rows)], axis=0), rtol=1e-12)


def test_imputed_cell_types_join_the_observed(regions, tensor_path, model_path, tmp_path, engine):
    tensor = Tensor(tensor_path)
    assay = next(
        name
        for name in sorted({e.assay for e in tensor.experiments})
        if sum(e.assay == name for e in tensor.experiments) < 6
    )
    Imputation(model_path, tensor_path, tmp_path / "imputed").make_all(engine)
    activity = Activity(tensor_path, regions, assay, tmp_path / "imputed")
    both, own = region_activity(activity), region_activity(Activity(tensor_path, regions, assay))
    cells = {e.cell_type for e in tensor.experiments}
    assert set(both.samples) == cells > set(own.samples)
    columns = [both.samples.index(cell) for cell in own.samples]
    np.testing.assert_array_equal(both.values[:, columns], own.values)
    assert np.isfinite(both.values).all() and (both.values.std(axis=1) > 0).all()
    Inference(activity, tmp_path / "net", NetworkSettings(method="pearson")).make_all(engine)
    read = read_expression(tmp_path / "net" / "expression.tsv")
    assert read.genes == both.genes and read.samples == both.samples
    np.testing.assert_array_equal(read.values, both.values)
    Inference(
        tmp_path / "net" / "expression.tsv", tmp_path / "again", NetworkSettings(method="pearson")
    ).make_all(engine)
    texts = [(tmp_path / name / "links.tsv").read_text() for name in ("net", "again")]
    assert texts[0] == texts[1]
    told = json.loads((tmp_path / "net" / "run.json").read_text())
    assert len(told["inputs"]) == 3


def test_activity_that_cannot_be_is_told(regions, tensor_path, tmp_path, caplog):
    assay = Tensor(tensor_path).experiments[0].assay
    with pytest.raises(DataError, match=r"has no experiment of H9; it has "):
        region_activity(Activity(tensor_path, regions, "H9"))
    lines = regions.read_text().splitlines()
    chrom = lines[0].split("\t")[0]
    (tmp_path / "far.bed").write_text(f"{lines[0]}\n{chrom}\t1\t2\tgene1\n")
    region_activity(Activity(tensor_path, tmp_path / "far.bed", assay))
    (tmp_path / "off.bed").write_text("chrUnknown\t1\t2\tx\n")
    with pytest.raises(TableError):
        region_activity(Activity(tensor_path, tmp_path / "off.bed", assay))
    with pytest.raises(TableError, match=r"has no tracks.tsv"):
        region_activity(Activity(tensor_path, regions, assay, tmp_path))


def test_the_command_line_takes_a_tensor(regions, tensor_path, tmp_path):
    assay = Tensor(tensor_path).experiments[0].assay
    infer = ("network", "infer", "-o", "net", "--method", "pearson", "--workers", 1)
    given = ("--from-tensor", tensor_path, "--regions", regions, "--assay", assay)
    done = call_predictd(*infer, *given, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "from 40 regulators to 40 genes" in done.stdout
    assert (tmp_path / "net" / "expression.tsv").is_file()
    done = call_predictd(*infer, "--from-tensor", tensor_path, cwd=tmp_path)
    assert done.returncode == 2 and "--from-tensor needs --regions and --assay" in done.stderr


# -- several targets in one forest -------------------------------------------------------------------------------------


def test_groups_hold_genes_that_vary_alike():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 60))
    team = rng.integers(4, size=90)
    expression = centres[team] + 0.2 * rng.normal(size=(90, 60))
    expression[7] = 0.0
    groups = group_targets(standardised(expression), np.array([3, 80]), seed=0)
    assert sorted(np.concatenate(groups).tolist()) == list(range(90))
    assert all(len(set(team[group].tolist())) == 1 for group in groups)
    assert all(group.size == 1 for group in groups if {3, 7, 80} & set(group.tolist()))
    assert max(group.size for group in groups) <= MOST and len(groups) < 30


def test_importances_of_one_target_are_scikit_learns_own():
    from sklearn.ensemble import ExtraTreesRegressor

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 50)), standardised(rng.normal(size=50))
    own = group_importances(x, y[np.newaxis], excluded=-1, n_trees=40, seed=0, names=("g",))
    np.testing.assert_allclose(own.sum(), 1.0)
    theirs = [
        ExtraTreesRegressor(200, max_features="sqrt", random_state=s).fit(x.T, y).feature_importances_
        for s in (0, 1)
    ]
    many = group_importances(x, y[np.newaxis], excluded=-1, n_trees=200, seed=0, names=("g",))[0]
    assert np.corrcoef(many, theirs[0])[0, 1] > np.corrcoef(*theirs)[0, 1] - 0.1


def test_what_targets_owe_to_regulators_is_told_apart():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(6, 200))
    common = x[0] + 0.1 * rng.normal(size=200)
    targets = standardised(np.stack([common + x[1], common + x[2], common]))
    found = group_importances(x, targets, excluded=-1, n_trees=100, seed=0, names=("a", "b", "c"))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert found[:, 0].min() > found[:, 3:].max() and found[2].argmax() == 0
    assert found[0, 1] > found[0, 2] and found[1, 2] > found[1, 1]


def test_groups_change_with_neither_workers_nor_order_of_names(tmp_path, engine, single):
    write_network_case(tmp_path)
    settings = NetworkSettings(method="multi", trees=20)
    for name, workers in (("two", engine), ("one", single)):
        plan = Inference(
            tmp_path / "expression.tsv",
            tmp_path / name,
            settings,
            regulators=tmp_path / "regulators.txt",
        )
        plan.make_all(workers)
    assert same_files(tmp_path / "one", tmp_path / "two") == ["links.tsv", "network.h5", "run.json"]
    links = Links.from_arrays(read_network(tmp_path / "one" / "network.h5")[1])
    genes, _, truth = simulate_expression()
    assert links.targets == tuple(genes) and plan.n_parts > 1
    best = {}
    for regulator, target in zip(links.indices.tolist(), links.rows().tolist(), strict=True):
        best.setdefault(genes[target], []).append(links.regulators[regulator])
    right = [pair[0] in best[pair[1]][:2] for pair in truth]
    assert np.mean(right) > 0.8


# -- quality -----------------------------------------------------------------------------------------------------------


def test_quality_is_high_where_regulators_predict_and_low_where_none_does():
    genes, expression, _ = simulate_expression()
    rng = np.random.default_rng(3)
    expression = np.vstack([expression, rng.normal(size=(8, expression.shape[1]))])
    expression[20] = 1.0
    names = tuple(f"g{i}" for i in range(len(expression)))
    problem = Problem(expression, names, np.arange(N_REGULATORS))
    for method in ("pearson", "rf"):
        found = held_out_r2(
            problem,
            range(N_REGULATORS, len(expression)),
            lambda part, method=method: make_method(method, part, n_trees=30, seed=0),
            seed=0,
        )
        assert np.isnan(found[20 - N_REGULATORS]) and np.isfinite(np.delete(found, 20 - N_REGULATORS)).all()
        driven = np.delete(found[: len(genes) - N_REGULATORS], 20 - N_REGULATORS)
        # Two regulators of variance 1 and noise of 0.25: at most 0.89 can be explained.
        assert 0.75 < driven.mean() < 0.92 and found[-8:].mean() < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_quality_stands_beside_the_links(method, tmp_path, engine):
    write_network_case(tmp_path)
    trees = 5 if method in DEFAULT_TREES else None
    settings = NetworkSettings(method=method, trees=trees, quality=True)
    plan = Inference(
        tmp_path / "expression.tsv", tmp_path / "net", settings, regulators=tmp_path / "regulators.txt"
    )
    plan.make_all(engine)
    header, *lines = (tmp_path / "net" / "quality.tsv").read_text().splitlines()
    genes, expression, _ = simulate_expression()
    assert header == "target\tr2" and [line.split("\t")[0] for line in lines] == genes
    quality = read_network(tmp_path / "net" / "network.h5")[1]["quality"]
    assert [f"{value:.6g}" for value in quality] == [line.split("\t")[1] for line in lines]
    groups = plan._problem.groups

    def make(part):
        return make_method(method, part, n_trees=trees or 0, seed=0)

    problem = Problem(expression, tuple(genes), np.arange(N_REGULATORS), groups=groups)
    np.testing.assert_array_equal(quality, held_out_r2(problem, range(len(genes)), make, seed=0))


def test_quality_bears_regulators_that_are_constant_without_a_fold():
    rng = np.random.default_rng(5)
    expression = rng.normal(size=(8, 36))
    expression[3:7] = 0.0
    # Each varies in one sample alone: constant wherever that is left out.
    expression[range(3, 7), [2, 11, 20, 33]] = 2.0
    expression[7] = expression[0] + 0.3 * rng.normal(size=36)
    genes, found = tuple(f"G{i}" for i in range(8)), []
    for floor in (0.0, np.log1p(1)):
        shifted = expression.copy()
        shifted[3:7] += floor
        problem = Problem(shifted, genes, np.arange(7))
        make = partial(make_method, "pearson", n_trees=0, seed=0)
        found.append(held_out_r2(problem, [7], make, seed=0)[0])
    assert found[0] > 0.5 and found[1] == pytest.approx(found[0], rel=1e-9)


def test_too_few_samples_for_quality_are_told(tmp_path):
    genes, expression, _ = simulate_expression()
    write_matrix(tmp_path / "e.tsv", genes, expression[:, :9])
    with pytest.raises(DataError, match="has 9 samples, too few to leave some out; leave out `quality`"):
        Inference(tmp_path / "e.tsv", tmp_path / "net", NetworkSettings(quality=True))
