"""Several methods on the same tracks: intervals, ranks, wins, and what evaluate writes of them."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from scipy import stats

from commands import call_predictd
from predictd.constants import CHALLENGE_MEASURES, MEASURES
from predictd.engine import Engine
from predictd.errors import ConfigError, TableError
from predictd.io.tables import Interval
from predictd.io.tracks.matrix import Matrix
from predictd.model.measures.comparison import (
    DRAWS,
    block_weights,
    clustered_half_width,
    compare_methods,
    mean_ranks,
)
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import EvaluateOptions, evaluate
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.ingest import IngestOptions, ingest

GRID = [Experiment(f"C{i}", f"A{j}") for i in range(5) for j in range(4)]
METHODS = ("first", "second", "third")


class TestIntervals:
    def test_one_way_clusters_are_the_interval_of_their_means(self):
        # Every assay once: only the five cell types group tracks, equally. An interval robust to them is Student's of
        # their means.
        rng = np.random.default_rng(0)
        pairs = [Experiment(f"C{i}", f"A{i}.{j}") for i in range(5) for j in range(4)]
        values = rng.standard_normal(20) + np.repeat(rng.standard_normal(5), 4)
        means = values.reshape(5, 4).mean(axis=1)
        low, high = stats.t.interval(0.95, 4, means.mean(), stats.sem(means))
        # Variance by assay and by pair are the same, and cancel.
        assert clustered_half_width(values, pairs) == pytest.approx((high - low) / 2, rel=1e-9)

    def test_effects_of_both_sides_widen_it(self):
        rng = np.random.default_rng(1)
        alone = rng.standard_normal(20)
        cell = alone + 3 * np.repeat(rng.standard_normal(5), 4)
        both = cell + 3 * np.tile(rng.standard_normal(4), 5)
        widths = [clustered_half_width(values, GRID) for values in (alone, cell, both)]
        assert widths[0] < widths[1] < widths[2]

    def test_it_holds_as_often_as_it_says(self):
        # 12 x 12 tracks with effects of cell types and assays.
        pairs = [Experiment(f"C{i}", f"A{j}") for i in range(12) for j in range(12)]
        rng = np.random.default_rng(2)
        held = 0
        for _ in range(400):
            values = (
                rng.standard_normal((12, 1)) + rng.standard_normal((1, 12)) + rng.standard_normal((12, 12))
            )
            held += abs(values.mean()) <= clustered_half_width(values.ravel(), pairs)
        assert 0.91 < held / 400 < 0.985

    def test_one_cluster_says_nothing(self):
        assert math.isnan(clustered_half_width(np.ones(3), [Experiment("C", f"A{i}") for i in range(3)]))


class TestRanks:
    def test_by_hand(self):
        # A track, two measures: an error (less is better) and a correlation (more is).
        error, r = [0.1, 0.2, 0.3], [0.9, 0.8, 0.7]
        assert mean_ranks(np.array([[error], [r]]), ["MSEglobal", "GWcorr"]).tolist() == [[1, 2, 3]]
        # log(1/4) + log(3/4) < 2 log(2/4): one first and one last place beat two second ones.
        r = [0.7, 0.8, 0.9]
        got = mean_ranks(np.array([[error], [r]]), ["MSEglobal", "GWcorr"])
        assert got.tolist() == [[1.5, 3, 1.5]]

    def test_ties_and_missing_values(self):
        values = np.array([[[1.0, 1.0, np.nan]], [[np.nan] * 3]])
        assert mean_ranks(values, ["MSEglobal", "MSEprom"]).tolist() == [[1.5, 1.5, 3]]

    def test_what_differs_by_less_than_a_hundredth_of_a_percent_is_tied(self):
        # 0.076 % apart, and 0.00016 % apart across a border of rounding.
        for values, wanted in (([0.10524, 0.10516], [2, 1]), ([0.12345001, 0.12344999], [1.5, 1.5])):
            assert mean_ranks(np.array([[values]]), ["MSEglobal"]).tolist() == [wanted]
            scores = {"MSEglobal": np.array([values])}
            draws = {"MSEglobal": np.broadcast_to(values, (DRAWS, 1, 2))}
            own, _ = compare_methods(GRID[:1], METHODS[:2], scores, draws).differences
            assert own.measure == "MSEglobal"
            assert (own.wins, own.losses) == ((0, 1) if wanted == [2, 1] else (0, 0))
        # Nothing is as negative as its opposite.
        assert mean_ranks(np.array([[[-1.0, 0.0, 1.0, 0.0]]]), ["GWcorr"]).tolist() == [[4, 2.5, 1, 2.5]]


def some_scores() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The second method is worse by 1 everywhere, the third has no value on the first track."""
    rng = np.random.default_rng(3)
    error = rng.random((20, 1)) + np.array([0.0, 1.0, 5.0])
    error[0, 2] = np.nan
    draws = error + 0.1 * rng.standard_normal((DRAWS, 1, 3))
    return {"MSEglobal": error, "AuprObs1": 1 - error / 10}, {"MSEglobal": draws}


def test_differences_wins_and_ranks():
    found = compare_methods(GRID, METHODS, *some_scores())
    by_key = {(d.measure, d.method, d.other): d for d in found.differences}
    assert set(by_key) == {
        (name, a, b)
        for name in ("MSEglobal", "AuprObs1", "rank")
        for a, b in (METHODS[:2], METHODS[::2], METHODS[1:])
    }
    first = by_key["MSEglobal", "first", "second"]
    assert first.tracks == 20 and (first.wins, first.losses) == (20, 0)
    assert first.difference == pytest.approx(-1)
    assert first.clusters == (pytest.approx(-1, rel=1e-5), pytest.approx(-1, rel=1e-5))
    low, high = first.blocks
    assert low < -1 < high and high - low == pytest.approx(2 * 1.96 * 0.1 * math.sqrt(2), rel=0.2)
    third = by_key["MSEglobal", "first", "third"]
    assert (
        third.tracks == 19
        and third.wins == 19
        and third.mean == pytest.approx(some_scores()[0]["MSEglobal"][1:, 0].mean())
    )
    assert all(math.isnan(end) for end in by_key["AuprObs1", "first", "second"].blocks)
    assert (by_key["AuprObs1", "first", "second"].wins, by_key["AuprObs1", "first", "second"].losses) == (
        20,
        0,
    )
    assert found.ranks[:, 0].tolist() == [1, 2, 3]
    assert (found.ranks[:, 1] <= found.ranks[:, 0]).all() and (found.ranks[:, 0] <= found.ranks[:, 2]).all()


def test_methods_are_ranked_on_tracks_that_all_have():
    scores, draws = some_scores()
    # The second has no value of the first track at all.
    for values in (*scores.values(), *draws.values()):
        values[..., 0, 1] = np.nan
    found = compare_methods(GRID, METHODS, scores, draws)
    (rank,) = (d for d in found.differences if (d.measure, d.method, d.other) == ("rank", *METHODS[:2]))
    assert rank.tracks == 19 and (rank.wins, rank.losses) == (19, 0)
    assert found.ranks[:, 0].tolist() == [1, 2, 3]
    # What a draw of the genome leaves undefined stays as it is.
    draws["MSEglobal"][3, :, 0] = np.nan
    assert compare_methods(GRID, METHODS, scores, draws).ranks[0].tolist() == [1, 1, 1]
    (error,) = (d for d in found.differences if (d.measure, d.method, d.other) == ("MSEglobal", *METHODS[1:]))
    draws["MSEglobal"][:, 1:, 2] += 1
    # Each draw lacks a track.
    for track in range(1, 20):
        draws["MSEglobal"][track - 1 :: 19, track] = np.nan
    (partly,) = (
        d
        for d in compare_methods(GRID, METHODS, scores, draws).differences
        if (d.measure, d.method, d.other) == ("MSEglobal", *METHODS[1:])
    )
    # It counts for the others, which are worse by 1 in it.
    assert partly.mean == error.mean and partly.blocks == pytest.approx(np.array(error.blocks) - 1, abs=0.1)
    nothing = {name: np.full_like(values, np.nan) for name, values in scores.items()}
    assert np.isnan(compare_methods(GRID, METHODS, nothing, {}).ranks).all()


def test_draws_of_blocks():
    weights = block_weights(100)
    assert weights.shape == (DRAWS, 100) and (weights.sum(axis=1) == 100).all()
    assert weights.mean() == 1 and weights.var() == pytest.approx(0.99, rel=0.05)


# -- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, model_path: Path, tensor_path: Path, engine: Engine
) -> list[Path]:
    """Imputed tracks, and the same with noise in one, as another tool's. Read only."""
    path = tmp_path_factory.mktemp("methods")
    impute(model_path, tensor_path, path / "ours", engine)
    (path / "noisy").mkdir()
    shutil.copy(path / "ours" / "tracks.tsv", path / "noisy" / "tracks.tsv")
    rng = np.random.default_rng(0)
    for file in (path / "ours").glob("*.bw"):
        with (
            pyBigWig.open(str(file)) as source,
            pyBigWig.open(str(path / "noisy" / file.name), "w") as target,
        ):
            target.addHeader(list(source.chroms().items()))
            for chrom, length in source.chroms().items():
                values = source.values(chrom, 0, length, numpy=True)[12::25]
                noisy = np.sinh(np.arcsinh(values) + rng.exponential(0.5, values.size))
                target.addEntries(chrom, 0, values=noisy.tolist(), span=25, step=25)
    return [path / "ours", path / "noisy"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_several_directories_at_once(folders, data, tensor_path, engine, single, tmp_path):
    report = evaluate(folders, data / "truth.tsv", tmp_path / "metrics.tsv", engine)
    assert [row["method"] for row in report.rows[:4]] == ["ours", "noisy", "assay_mean", "assay_mean_scaled"]
    # Each as alone.
    for folder in folders:
        options = EvaluateOptions(names=(folder.name,))
        alone = evaluate(
            folder, data / "truth.tsv", tmp_path / "alone" / "m.tsv", engine, options, tensor=tensor_path
        )
        together = [row for row in report.rows if row["method"] == folder.name]
        for own, other in zip((r for r in alone.rows if r["method"] == folder.name), together, strict=True):
            assert {k: own[k] for k in ("cell_type", "assay", "bins", "absent")} == {
                k: other[k] for k in ("cell_type", "assay", "bins", "absent")
            }
            for name in MEASURES:
                assert own[name] == pytest.approx(other[name], rel=1e-9, nan_ok=True)
    by_key = {(r["measure"], r["method"], r["other"]): r for r in rows_of(tmp_path / "comparison.tsv")}
    own = by_key["MSEglobal", "ours", "noisy"]
    values = {
        name: np.array([float(row["MSEglobal"]) for row in report.rows if row["method"] == name])
        for name in ("ours", "noisy")
    }
    difference = values["ours"] - values["noisy"]
    assert float(own["difference"]) == pytest.approx(difference.mean(), rel=1e-4)
    assert (own["tracks"], own["wins"], own["losses"]) == (
        "6",
        str((difference < 0).sum()),
        str((difference > 0).sum()),
    )
    assert float(own["blocks_low"]) < difference.mean() < float(own["blocks_high"]) < 0
    # The products of the ranks over the challenge's measures, ranked on each track.
    ranked = ("MSEglobal", "GWcorrasinh", "GWspear", "MSEvar", "MSE1obs", "MSE1imp")
    places = []
    for start in range(0, len(report.rows), 4):
        own_rows = report.rows[start : start + 4]
        costs = []
        for name in ranked:
            level, levels = 0, dict[float, int]()
            last = None
            for value in sorted(row[name] for row in own_rows):
                # What differs by less than 0.01 % is tied.
                level += last is not None and value - last > 1e-4 * max(abs(value), abs(last))
                levels[value], last = level, value
            costs.append([levels[row[name]] * (-1 if name.startswith("GW") else 1) for row in own_rows])
        places.append(stats.rankdata(np.prod(stats.rankdata(costs, axis=1), axis=0)))
    assert report.comparison is not None
    assert report.comparison.ranks[:, 0] == pytest.approx(np.mean(places, axis=0))
    assert float(by_key["rank", "ours", "noisy"]["mean"]) == pytest.approx(
        np.mean(places, axis=0)[0], rel=1e-5
    )
    evaluate(folders, data / "truth.tsv", tmp_path / "again" / "metrics.tsv", single)
    for name in ("metrics.tsv", "comparison.tsv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_values_mapped_to_the_observed_distribution(folders, data, tensor_path, engine, tmp_path):
    options = EvaluateOptions(quantiles=True)
    rows = evaluate(
        folders[1], data / "truth.tsv", tmp_path / "m.tsv", engine, options, tensor=tensor_path
    ).rows
    by_key = {(row["cell_type"], row["assay"], row["method"]): row for row in rows}
    pair = rows[0]["cell_type"], rows[0]["assay"]
    raw, mapped = by_key[(*pair, "model")], by_key[(*pair, "model (quantiles)")]
    # Only ties may change what ranks say.
    for name in ("GWspear", "AucObs1", "Match1"):
        assert mapped[name] == pytest.approx(raw[name], abs=0.01)
    truth, ours = rows_of(data / "truth.tsv"), rows_of(folders[1] / "tracks.tsv")

    def signal(folder: Path, table: list[dict[str, str]]) -> np.ndarray:
        (path,) = (row["path"] for row in table if (row["cell_type"], row["assay"]) == pair)
        with pyBigWig.open(str(folder / path)) as file:
            parts = [file.values(chrom, 0, n, numpy=True)[12::25] for chrom, n in file.chroms().items()]
        return np.arcsinh(np.concatenate(parts).astype(np.float64))

    y, x = signal(data, truth), signal(folders[1], ours)
    expected = np.sort(y)[stats.rankdata(x, method="ordinal").astype(int) - 1]
    assert mapped["MSEglobal"] == pytest.approx(np.square(y - expected).mean(), rel=1e-3)
    assert mapped["MSEglobal"] < raw["MSEglobal"]
    assert {row["method"] for row in rows} == {
        f"{name}{kind}"
        for name in ("model", "assay_mean", "assay_mean_scaled")
        for kind in ("", " (quantiles)")
    }


def write_bed6(path: Path, lines: list[tuple[str, int, int, str]]) -> Path:
    path.write_text("".join(f"{c}\t{a}\t{b}\tg{i}\t0\t{s}\n" for i, (c, a, b, s) in enumerate(lines)))
    return path


def test_the_challenges_regions(folders, data, engine, tmp_path):
    """Regions as the challenge's definition counts bins: each as often as a gene, promoter or enhancer holds it."""
    genes = [("chr1", 30_010, 52_000, "+"), ("chr1", 40_000, 60_060, "-"), ("chr2", 1_000, 9_000, "+")]
    enhancers = [("chr2", 100, 400, "."), ("chr2", 300, 625, ".")]
    regions = Regions(
        genes=write_bed6(tmp_path / "g.bed", genes), enhancers=write_bed6(tmp_path / "e.bed", enhancers)
    )
    options = EvaluateOptions(challenge=True, regions=regions)
    rows = evaluate(folders[0], data / "truth.tsv", tmp_path / "m.tsv", engine, options).rows
    header = (tmp_path / "m.tsv").read_text().splitlines()[0].split("\t")
    assert header[6:] == list(CHALLENGE_MEASURES)
    pair = rows[0]["cell_type"], rows[0]["assay"]
    signal = []
    for folder, table in ((data, "truth.tsv"), (folders[0], "tracks.tsv")):
        (path,) = (r["path"] for r in rows_of(folder / table) if (r["cell_type"], r["assay"]) == pair)
        with pyBigWig.open(str(folder / path)) as file:
            signal.append({c: file.values(c, 0, n, numpy=True)[12::25] for c, n in file.chroms().items()})
    error = {
        chrom: (signal[0][chrom].astype(np.float64) - signal[1][chrom]) ** 2 for chrom in ("chr1", "chr2")
    }
    promoters = [
        error[c][max(a // 25 - 80, 0) : a // 25] if s == "+" else error[c][b // 25 + 1 : b // 25 + 81]
        for c, a, b, s in genes
    ]
    expected = {
        "mse": np.concatenate(list(error.values())),
        "msegene": np.concatenate([error[c][a // 25 : b // 25 + 1] for c, a, b, _ in genes]),
        "mseenh": np.concatenate([error[c][a // 25 : b // 25 + 1] for c, a, b, _ in enhancers]),
        "mseprom": np.concatenate(promoters),
    }
    for name, values in expected.items():
        assert rows[0][name] == pytest.approx(values.mean(), rel=1e-4), name


def test_the_challenges_regions_where_bins_are_regions(engine, tmp_path):
    """Genes are as they are, and promoters reach 2,000 bp: what only touches them does not count."""
    starts = np.arange(2000, 9000, 100)
    signal = np.random.default_rng(4).gamma(1, 2, (2, len(starts))).astype(np.float32)
    places = [Interval("chr1", start, start + 100) for start in starts.tolist()]
    (tmp_path / "made.sizes").write_text("chr1\t10000\n")
    matrix = Matrix(places, GRID[:2], signal.T)
    tensor = ingest(matrix, tmp_path / "t", IngestOptions(genome=str(tmp_path / "made.sizes")), engine)
    for name, values in zip(("observed", "imputed"), signal, strict=True):
        (tmp_path / name).mkdir()
        with pyBigWig.open(str(tmp_path / name / "track.bw"), "w") as file:
            file.addHeader([("chr1", 10_000)])
            file.addEntries("chr1", 2000, values=values, span=100, step=100)
        (tmp_path / name / "tracks.tsv").write_text("cell_type\tassay\tpath\nC0\tA0\ttrack.bw\n")
    genes = [("chr1", 5000, 5100, "+"), ("chr1", 5500, 5600, "-")]
    options = EvaluateOptions(challenge=True, regions=Regions(genes=write_bed6(tmp_path / "g.bed", genes)))
    table = tmp_path / "observed" / "tracks.tsv"
    found = evaluate(tmp_path / "imputed", table, None, engine, options, tensor=tensor.path).rows[0]
    error = dict(zip(starts.tolist(), (signal[0] - signal[1]).astype(np.float64) ** 2, strict=True))
    assert found["msegene"] == pytest.approx(np.mean([error[5000], error[5500]]), rel=1e-4)
    upstream = [*range(3000, 5000, 100), *range(5600, 7600, 100)]
    assert found["mseprom"] == pytest.approx(np.mean([error[start] for start in upstream]), rel=1e-4)


def test_genes_without_strands_have_no_promoters(folders, data, engine, tmp_path, caplog):
    genes = [("chr1", 30_010, 52_000, "."), ("chr1", 40_000, 60_060, "-")]
    options = EvaluateOptions(challenge=True, regions=Regions(genes=write_bed6(tmp_path / "g.bed", genes)))
    rows = evaluate(folders[0], data / "truth.tsv", tmp_path / "m.tsv", engine, options).rows
    assert (
        "1 of the 2 genes in " in caplog.text and "have no strand (+ or - in the sixth column)" in caplog.text
    )
    assert float(rows[0]["mseprom"]) > 0
    (tmp_path / "g.bed").write_text("chr1\t100\t900\n")
    rows = evaluate(folders[0], data / "truth.tsv", tmp_path / "m.tsv", engine, options).rows
    assert math.isnan(float(rows[0]["mseprom"])) and float(rows[0]["msegene"]) > 0


def test_names_are_one_for_each(folders, data, engine, tmp_path):
    def run(*names: str) -> None:
        options = EvaluateOptions(names=names)
        evaluate(folders, data / "truth.tsv", tmp_path / "m.tsv", engine, options)

    with pytest.raises(ConfigError, match=r"`names`: 1 for 2 directories; give one for each"):
        run("a")
    with pytest.raises(ConfigError, match="two methods would be called a: give each another name"):
        run("a", "a")
    with pytest.raises(ConfigError, match="two methods would be called assay_mean"):
        run("a", "assay_mean")
    with pytest.raises(ConfigError, match=r"'b .quantiles.' ends with .quantiles., which is kept for"):
        run("a", "b (quantiles)")
    with pytest.raises(TableError, match=r"truth.tsv is a file: name directories of imputed tracks first"):
        evaluate(data / "truth.tsv", folders[0], tmp_path / "m.tsv", engine)
    same = [folders[0], folders[0]]
    with pytest.raises(ConfigError, match="two methods would be called ours"):
        evaluate(same, data / "truth.tsv", tmp_path / "m.tsv", engine)
    with pytest.raises(TableError, match=r"has no tracks.tsv"):
        evaluate([folders[0], tmp_path], data / "truth.tsv", tmp_path / "m.tsv", engine)
    assert not list(tmp_path.iterdir())


def test_only_pairs_that_all_have_are_compared(folders, data, engine, tmp_path, caplog):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    lines = (folders[1] / "tracks.tsv").read_text().splitlines()
    (fewer / "tracks.tsv").write_text("\n".join(lines[:-2]) + "\n")
    for line in lines[1:-2]:
        name = line.split("\t")[2]
        shutil.copy(folders[1] / name, fewer / name)
    report = evaluate([folders[0], fewer], data / "truth.tsv", tmp_path / "m.tsv", engine)
    assert len(report.rows) == 4 * 4
    assert "2 pairs are left out, since not every directory has them" in caplog.text


def test_the_command_line(folders, data, tmp_path):
    done = call_predictd(
        *(
            "evaluate",
            *folders,
            data / "truth.tsv",
            "-o",
            "m.tsv",
            "--name",
            "a",
            "--name",
            "b",
            "--workers",
            1,
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "mean rank" in done.stdout and "MSEglobal minus a's" in done.stdout
    lines = done.stdout.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["a", "b", "assay_mean", "assay_mean_scaled"]
    assert (tmp_path / "m.comparison.tsv").is_file()
    done = call_predictd(
        *(
            "evaluate",
            folders[0],
            data / "truth.tsv",
            "-o",
            "c.tsv",
            "--measures",
            "challenge",
            "--absent",
            "skip",
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0 and done.stdout.splitlines()[0].split()[2:4] == ["mse", "mse1obs"]
