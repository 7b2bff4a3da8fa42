"""What factors mean: arrangements against scipy and NumPy, the genome's part against the reference, regions by hand."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from commands import call_predictd
from folders import same_files
from made_models import trained_for
from made_tensors import small_tensor, stored_signal
from predictd.errors import ConfigError, DataError, ModelFormatError, OutputError, TableError
from predictd.io.models import ModelFile, write_model
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.cp.interpretation import GenomeFactors, TopBins, arrange, in_signal, sizes
from predictd.model.cp.reference import closed_form_genome
from predictd.model.moments import moments
from predictd.workflows.evaluation.factors import explain_factors

pytestmark = pytest.mark.numeric


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, CPModel, Path]:
    """900 bins of six tracks with some gaps, a model of rank 2, and its file. Read only."""
    folder = tmp_path_factory.mktemp("factors")
    rng = np.random.default_rng(5)
    signal = rng.gamma(1.0, 0.5, (900, 6))
    signal[rng.random(signal.shape) < 0.02] = np.nan
    signal[500:507, 1:] = np.nan
    tensor = small_tensor(folder / "T", signal, cut_last_bin=10)
    complete = stored_signal(tensor)
    complete = complete[~np.isnan(complete).any(axis=1)]
    model = trained_for(tensor, 3).with_genome(moments(complete), np.arange(6)).canonical()
    write_model(folder / "m.h5", ModelFile("cp", model.to_arrays(), {}))
    return tensor, model, folder / "m.h5"


def genome_by_hand(tensor: Tensor, model: CPModel) -> np.ndarray:
    """G of every bin (bins × L), each solved by itself on what it has; NaN under half."""
    z, o = model.design(model.train)
    found = []
    for y in stored_signal(tensor)[:, tensor.columns(model.train)].astype(np.float64):
        seen = ~np.isnan(y)
        enough = seen.mean() >= 0.5
        g = closed_form_genome(z[:, seen], model.lambda_g, (y - o)[np.newaxis, seen])[0] if enough else None
        found.append(np.full(model.rank, np.nan) if g is None else g[:-1])
    return np.array(found)


# -- arrangements -----------------------------------------------------------------------------------------------------


def test_like_rows_stand_together():
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0, 0], [9, 0, 0], [0, 14, 0.0]])
    group = np.tile(np.arange(3), 5)
    rows = middles[group] + 0.3 * rng.normal(size=(15, 3))
    found = arrange(rows)
    assert sorted(found.order) == list(range(15))
    along = group[found.order]
    assert np.count_nonzero(np.diff(along)) == 2
    clusters = found.clusters[found.order]
    assert (np.diff(clusters) >= 0).all() and clusters[0] == 1
    # The two components keep the distances that two dimensions can.
    flat = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(flat)
    np.testing.assert_allclose(
        squareform(pdist(found.coordinates)), squareform(pdist(flat @ axes[:2].T)), atol=1e-9
    )
    variance = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(found.explained, variance[:2] / variance.sum(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3, 1)])
def test_few_rows(shape):
    found = arrange(np.arange(np.prod(shape), dtype=float).reshape(shape))
    assert sorted(found.order) == list(range(shape[0])) and found.coordinates.shape == (shape[0], 2)
    assert np.isfinite(found.coordinates).all() and (found.clusters >= 1).all()


def test_genome_is_that_of_the_closed_form(small):
    tensor, model, _ = small
    found = GenomeFactors(model)(stored_signal(tensor)[:, tensor.columns(model.train)])
    expected = genome_by_hand(tensor, model)
    assert np.isnan(expected).any(axis=1).sum() >= 7
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_top_bins_of_blocks_are_those_of_all():
    rng = np.random.default_rng(1)
    genome = rng.normal(size=(5000, 3))
    genome[rng.random(5000) < 0.1] = np.nan
    top = TopBins(3, 40)
    for start in range(0, 5000, 700):
        top.add(genome[start : start + 700])
    for factor in range(3):
        expected = np.argsort(-np.nan_to_num(genome[:, factor], nan=-np.inf))[:40]
        np.testing.assert_array_equal(top.places[factor], expected)
        np.testing.assert_array_equal(top.values[factor], genome[expected, factor])


# -- the command ------------------------------------------------------------------------------------------------------


def test_files_of_a_model(small, tmp_path):
    _, model, path = small
    found = explain_factors(path, tmp_path / "out")
    assert (found.rank, found.top_bins) == (2, 0)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    figures = {f"{n}.{s}" for n in ("cell_types", "assays", "embedding") for s in ("svg", "png")}
    assert names == figures | {"cell_types.tsv", "assays.tsv", "factors.tsv", "run.json"}
    rows = table(tmp_path / "out" / "cell_types.tsv")
    assert sorted(row["cell_type"] for row in rows) == sorted(model.cell_types)
    c, _ = in_signal(model)
    for row in rows:
        index = model.cell_types.index(row["cell_type"])
        np.testing.assert_allclose([float(row["factor1"]), float(row["factor2"])], c.parts[index], rtol=1e-5)
        assert float(row["bias"]) == pytest.approx(model.p[index], rel=1e-5)
    sizes = [float(row["size"]) for row in table(tmp_path / "out" / "factors.tsv")]
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(OutputError, match=r"holds factors\.tsv already"):
        explain_factors(path, tmp_path / "out")


def test_top_bins_and_regions(small, tmp_path):
    tensor, model, path = small
    # Bins 100 to 199 and 400, by any base of them.
    with gzip.open(tmp_path / "r.bed.gz", "wt") as file:
        file.write("chr1\t2524\t5000\nchr1\t10000\t10001\n")
    found = explain_factors(
        path, tmp_path / "out", tensor=tensor.path, regions={"some": tmp_path / "r.bed.gz"}, top=50
    )  # fmt: skip
    g = genome_by_hand(tensor, model)
    known = ~np.isnan(g).any(axis=1)
    assert found.top_bins == 50 and found.empty_bins == (~known).sum() >= 7
    inside = np.zeros(900, dtype=bool)
    inside[[*range(100, 200), 400]] = True
    rows = table(tmp_path / "out" / "enrichment.tsv")
    assert [(row["factor"], row["region"]) for row in rows] == [("1", "some"), ("2", "some")]
    for factor, row in enumerate(rows):
        top = np.argsort(-np.nan_to_num(g[:, factor], nan=-np.inf))[:50]
        covered = np.zeros(900, dtype=bool)
        bed = (tmp_path / "out" / "top" / f"factor-{factor + 1}.bed").read_text().splitlines()
        values = []
        for line in bed:
            chrom, start, end, name, score, _, value = line.split("\t")
            assert chrom == "chr1" and name == f"factor{factor + 1}" and 0 <= int(score) <= 1000
            covered[int(start) // 25 : -(-int(end) // 25)] = True
            values.append(float(value))
        assert set(np.flatnonzero(covered)) == set(top)
        assert max(values) == pytest.approx(g[top[0], factor], rel=1e-4)
        a, b = inside[top].sum(), (~inside[top]).sum()
        n_in, n_out = (inside & known).sum(), (~inside & known).sum()
        assert [int(row[k]) for k in ("inside", "outside", "top_inside", "top_outside")] == [
            n_in,
            n_out,
            a,
            b,
        ]
        odds = (a + 0.5) * (n_out - b + 0.5) / ((b + 0.5) * (n_in - a + 0.5))
        assert float(row["odds_ratio"]) == pytest.approx(odds, rel=1e-4)
        means = g[inside & known, factor].mean(), g[~inside & known, factor].mean()
        assert [float(row["mean_inside"]), float(row["mean_outside"])] == pytest.approx(means, rel=1e-3)
        effect = (means[0] - means[1]) / g[known, factor].std()
        assert float(row["effect"]) == pytest.approx(effect, rel=1e-3)


def test_the_command_line_and_the_same_bytes(small, tmp_path):
    tensor, _, path = small
    (tmp_path / "r.bed").write_text("chr1\t0\t500\n")
    arguments = [
        "factors",
        path,
        tensor.path,
        "--regions",
        f"tss={tmp_path / 'r.bed'}",
        "--top",
        "20",
        "--quiet",
    ]
    done = call_predictd(*arguments, "-o", tmp_path / "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 factors, listed in" in done.stdout and "the 20 largest bins of each in" in done.stdout
    regions = {"tss": tmp_path / "r.bed"}
    explain_factors(path, tmp_path / "two", tensor=tensor.path, regions=regions, top=20)
    assert len(same_files(tmp_path / "one", tmp_path / "two")) == 13
    assert json.loads((tmp_path / "one" / "run.json").read_text())["results"]["rank"] == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"r\.bed holds no intervals"),
        ("chr7\t0\t100\n", r"`regions` some: .*chr7:0-100 does not fit made, which has no such chromosome; is it of"),
        ("chr1\t0\t100000\n", "which gives it 22,490 bp; is it of another genome"),
        ("chr1\tx\ty\n", "line 1: expected chromosome, start and end"),
    ],
)  # fmt: skip
def test_regions_that_do_not_fit(small, tmp_path, content, told):
    tensor, _, path = small
    (tmp_path / "r.bed").write_text(content)
    with pytest.raises(TableError, match=told):
        explain_factors(path, tmp_path / "out", tensor=tensor.path, regions={"some": tmp_path / "r.bed"})
    assert not (tmp_path / "out").exists()


def test_what_else_is_refused(small, tmp_path, model_path, tensor_path):
    tensor, _, path = small
    with pytest.raises(ConfigError, match="`regions` needs `tensor`"):
        explain_factors(path, tmp_path / "out", regions={"some": tmp_path / "r.bed"})
    with pytest.raises(ModelFormatError, match="is a directory; name the model file"):
        explain_factors(tensor.path, tmp_path / "out")
    gap = small_tensor(tmp_path / "T", np.full((900, 6), 0.5), cut_last_bin=10)
    (tmp_path / "r.bed").write_text("chr1\t0\t500\n")
    with pytest.raises(Exception, match="is it the tensor that the model was trained on"):
        explain_factors(model_path, tmp_path / "out", tensor=gap.path)
    done = call_predictd("factors", path, "-o", "out", "--regions", "r.bed", cwd=tmp_path)
    assert done.returncode == 2 and "'r.bed' is not NAME=BED" in done.stderr
    assert not (tmp_path / "out").exists()
    dead = CPModel(("C",), ("A",), np.ones((1, 0)), np.ones((1, 0)), np.zeros(1), np.zeros(1), 0.0, 1.0, ())
    with pytest.raises(DataError, match="no components left"):
        in_signal(dead)


def test_models_of_earlier_versions_need_their_tensor(small, tmp_path, blank_figures):
    tensor, model, _ = small
    older = replace(model, g_moments=None)
    write_model(tmp_path / "old.h5", ModelFile("cp", older.to_arrays(), {}))
    with pytest.raises(
        DataError, match=r"of an earlier version.*\(G_moments\); train it again, or name the tensor"
    ):
        explain_factors(tmp_path / "old.h5", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    explain_factors(tmp_path / "old.h5", tmp_path / "out", tensor=tensor.path)
    g = genome_by_hand(tensor, model)
    g = g[~np.isnan(g).any(axis=1)]
    expected = sizes(replace(model, g_moments=g.T @ g / len(g)))
    found = sorted(
        (int(row["factor"]), float(row["size"])) for row in table(tmp_path / "out" / "factors.tsv")
    )
    np.testing.assert_allclose([size for _, size in found], expected, rtol=1e-4)
