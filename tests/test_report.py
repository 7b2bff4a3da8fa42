"""Reports: what the tables say against numbers by hand, what the page holds, the same bytes, what is refused."""

from __future__ import annotations

import csv
import json
import re
import struct
import subprocess
from collections import Counter
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import chromium
from commands import call_predictd
from folders import same_files
from made_folds import FEW_SWEEPS
from made_tensors import small_tensor
from predictd.config import TrainSettings
from predictd.constants import MEASURES
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, TableError
from predictd.io.files import write_json
from predictd.io.results import write_rows
from predictd.io.tables import write_tracks
from predictd.io.tensor.manifest import ExperimentEntry
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.model.folds import folds_to_json, make_folds
from predictd.pairs import Experiment
from predictd.report import drawing
from predictd.report.glossary import MEANINGS, MEASURE_MEANINGS
from predictd.report.page import Section, page
from predictd.report.scores import (
    Known,
    Score,
    Table,
    by_group,
    chosen_method,
    experiments_table,
    scores_of,
    summary,
)
from predictd.report.svg import inlined, tip, with_titles
from predictd.workflows.evaluation.examples import Source, find_examples, observed_tables
from predictd.workflows.evaluation.report import MoreInput, report
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_held_out
from predictd.workflows.training.crossval import crossval

NAMES = (
    "by_assay",
    "by_cell_type",
    "examples",
    "baselines",
    "observed_imputed",
    "reliability",
    "training",
)
TABLES = ("by_assay", "by_cell_type", "experiments", "summary", "worst")
MULTIQC = {f"predictd_{name}_mqc.json" for name in ("general", "measures", "assays")}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def cv(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    """2 × 2 folds with promoters. Read only."""
    folder = tmp_path_factory.mktemp("report")
    tensor = Tensor(tensor_path)
    write_json(folder / "folds.json", folds_to_json(make_folds(tensor.experiments, tests=2, valids=2)))
    path = folder / "<cv> & co"
    settings = TrainSettings(rank=2, regularisation=0.1, als=FEW_SWEEPS)
    crossval(tensor_path, path, settings, engine, folds=folder / "folds.json")
    return path


@pytest.fixture(scope="module")
def made(cv: Path) -> Path:
    """The report of the cross-validation. Read only."""
    report(cv, cv.parent / "r" / "report.html")
    return cv.parent / "r"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_scores(path: Path, rows: list[dict[str, str | float]], left_out: tuple[str, ...] = ()) -> None:
    """metrics.tsv, with the columns of the rows in their order but for some."""
    columns = [name for name in rows[0] if name not in left_out]
    write_rows(path, columns, [[row[name] for name in columns] for row in rows])


def titles(svg: bytes) -> list[str]:
    return [title.text or "" for title in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def row(cell: str, assay: str, method: str, mse: float, **others: float) -> dict[str, str | float]:
    values = {"MSEglobal": mse, "GWcorrasinh": 0.5, "AucObs1": 0.9, **others}
    return {"cell_type": cell, "assay": assay, "fold": "0", "method": method} | {
        name: values.get(name, float("nan")) for name in MEASURES
    }


class Page(HTMLParser):
    """Whether a page is well formed, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.names: list[str] = []
        self.drawn = 0
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [values[key] for key in ("src", "href") if key in values]
        self.names += [values["id"]] if "id" in values else []
        self.drawn += tag == "svg"
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


# -- numbers ----------------------------------------------------------------------------------------------------------


def some_rows() -> list[dict[str, str | float]]:
    return [
        row("C1", "A1", "mine", 0.1, GWcorrasinh=0.8),
        row("C1", "A1", "assay_mean", 0.4),
        row("C1", "A1", "assay_mean_scaled", 0.2),
        row("C2", "A1", "mine", 0.8, GWcorrasinh=0.2),
        row("C2", "A1", "assay_mean", 0.4),
        row("C2", "A1", "assay_mean_scaled", 0.5),
        row("C1", "A2", "mine", 0.3),
    ]


def test_groups_stand_by_their_correlation():
    scores = scores_of(some_rows(), "mine", Known(widths={Experiment("C1", "A1"): 0.4}))
    assert len(scores) == 3
    # The best by correlation, 0.5 on average, though only the other gains: mean 0.5 against 0.5, then by name.
    found = by_group(scores, "assay")
    assert [one[0] for one in found.rows] == ["A1", "A2"]
    values = dict(zip(found.columns, found.rows[0], strict=True))
    # 0.1/0.2 and 0.8/0.4.
    assert values["ratio"] == pytest.approx(1.0) and values["better"] == 0.5 and values["experiments"] == 2
    assert values["MSEglobal"] == pytest.approx(0.45) and values["GWcorrasinh"] == pytest.approx(0.5)
    assert values["lowest"] == pytest.approx(0.2) and values["relative_sd"] == pytest.approx(0.4)
    assert np.isnan(found.rows[1][found.columns.index("ratio")])
    assert "MSEprom" not in found.columns and "within_95" not in found.columns
    # C1 has the larger mean correlation (0.65 and 0.2), and C2 the worst track.
    assert [one[0] for one in by_group(scores, "cell_type").rows] == ["C1", "C2"]
    worst = experiments_table(scores)
    assert [one[:2] for one in worst.rows] == [["C2", "A1"], ["C1", "A2"], ["C1", "A1"]]
    means = summary("mine", scores)
    # Over the two experiments that have baselines.
    assert [one[:2] for one in means.rows] == [
        ["mine", pytest.approx(0.45)],
        ["assay_mean", pytest.approx(0.4)],
        ["assay_mean_scaled", pytest.approx(0.35)],
    ]


def test_one_of_several_methods_is_reported(tmp_path):
    mapped = row("C1", "A1", "mine (quantiles)", 0.05, GWcorrasinh=0.9)
    rows = [*some_rows(), mapped, row("C1", "A1", "assay_mean (quantiles)", 0.1)]
    # What was mapped is the same method once more.
    assert chosen_method(some_rows()) == chosen_method(rows) == "mine"
    assert chosen_method(rows, "mine (quantiles)") == "mine (quantiles)"
    theirs = row("C1", "A1", "theirs", 0.3) | {"fold": "."}
    rows.append(theirs)
    with pytest.raises(DataError, match=r"name one as `method`: 'mine', 'mine \(quantiles\)', 'theirs'"):
        chosen_method(rows)
    with pytest.raises(DataError, match=r"`method` 'assay_mean': the scores have no such method besides"):
        chosen_method(rows, "assay_mean")
    with pytest.raises(DataError, match="the baselines alone"):
        chosen_method([row("C1", "A1", "assay_mean", 0.4)])
    write_scores(tmp_path / "metrics.tsv", rows)
    done = call_predictd("report", tmp_path, "-o", tmp_path / "r.html", cwd=tmp_path)
    assert done.returncode == 1 and "name one as --method" in done.stderr
    report(tmp_path, tmp_path / "r.html", method="mine (quantiles)")
    (own,) = table(tmp_path / "r_files" / "experiments.tsv")
    # Beside the baseline that was mapped as well.
    assert float(own["MSEglobal"]) == 0.05 and float(own["ratio"]) == pytest.approx(0.5)
    report(tmp_path, tmp_path / "r.html", method="theirs")
    (own,) = table(tmp_path / "r_files" / "experiments.tsv")
    # The baselines are those of the pair, whatever fold each method is of.
    assert float(own["ratio"]) == pytest.approx(0.3 / 0.2)


def test_a_directory_is_reported_with_its_own_method(tmp_path):
    rows = [*some_rows(), row("C1", "A1", "theirs", 0.3)]
    write_scores(tmp_path / "m.tsv", rows)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    methods = {"mine": str(tmp_path / "a"), "theirs": str(tmp_path / "b")}
    write_json(tmp_path / "m.tsv.run.json", {"results": {"methods": methods}})
    report(tmp_path / "b", tmp_path / "r.html", metrics=tmp_path / "m.tsv")
    (own,) = table(tmp_path / "r_files" / "experiments.tsv")
    assert float(own["MSEglobal"]) == 0.3
    with pytest.raises(DataError, match=r"`method` mine: its tracks are in .*a; report on that directory"):
        report(tmp_path / "b", tmp_path / "r.html", metrics=tmp_path / "m.tsv", method="mine")
    # A directory that the scores do not know may be one that was moved, unless it is still where it was.
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"`method` theirs: its tracks are in .*b; report on that directory"):
        report(tmp_path / "c", tmp_path / "r.html", metrics=tmp_path / "m.tsv", method="theirs")
    (tmp_path / "b").rmdir()
    report(tmp_path / "c", tmp_path / "r.html", metrics=tmp_path / "m.tsv", method="theirs")
    # Scores of a cross-validation are of the directory that they are in.
    write_scores(tmp_path / "a" / "metrics.tsv", some_rows())
    write_json(tmp_path / "a" / "run.json", {"workflow": "cv"})
    with pytest.raises(DataError, match=r"`method` mine: its tracks are in .*a; report on that directory"):
        report(tmp_path / "c", tmp_path / "r.html", metrics=tmp_path / "a" / "metrics.tsv")
    (tmp_path / "a").rename(tmp_path / "moved")
    report(tmp_path / "moved", tmp_path / "r.html", metrics=tmp_path / "moved" / "metrics.tsv")


def test_scores_of_the_challenge_are_named_as_such(tmp_path):
    (tmp_path / "metrics.tsv").write_text(
        "cell_type\tassay\tfold\tmethod\tbins\tabsent\tmse\nC\tA\t.\tm\t9\t0\t1\n"
    )
    with pytest.raises(
        TableError, match="has the measures of the ENCODE Imputation Challenge; a report needs"
    ):
        report(tmp_path, tmp_path / "r.html")


@pytest.mark.usefixtures("blank_figures")
def test_bins_that_a_method_left_out_are_told(tmp_path):
    rows = [one | {"bins": 1000, "absent": 0} for one in some_rows()]
    rows[0]["absent"] = 250
    write_scores(tmp_path / "metrics.tsv", rows)
    report(tmp_path, tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert (
        "no value in some of the observed bins of 1 experiment: up to 250 bins (C1 A1; scored on 1,000)"
        in text
    )
    found = {(one["cell_type"], one["assay"]): one for one in table(tmp_path / "r_files" / "experiments.tsv")}
    assert (found["C1", "A1"]["bins"], found["C1", "A1"]["absent"], found["C2", "A1"]["absent"]) == (
        "1000",
        "250",
        "0",
    )
    # Files of earlier versions have neither these nor all measures.
    write_scores(tmp_path / "metrics.tsv", rows, left_out=("bins", "absent", "MSE1imp", "AucObs1"))
    report(tmp_path, tmp_path / "r.html")
    assert "no value in some" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    columns = table(tmp_path / "r_files" / "experiments.tsv")[0].keys()
    assert not columns & {"bins", "absent", "AucObs1"}


def test_every_number_has_a_meaning(made):
    assert set(MEASURES) <= set(MEASURE_MEANINGS)
    text = Page((made / "report.html").read_text(encoding="utf-8")).text
    for name in TABLES:
        columns = table(made / "report_files" / f"{name}.tsv")[0].keys() - {
            "cell_type",
            "assay",
            "fold",
            "method",
        }
        assert columns <= MEANINGS.keys()
        assert all(MEANINGS[column].text in text for column in columns)


def test_tables_of_a_cross_validation(cv, made):
    files = made / "report_files"
    metrics = {
        (r["cell_type"], r["assay"], r["method"]): float(r["MSEglobal"]) for r in table(cv / "metrics.tsv")
    }
    rows = table(files / "experiments.tsv")
    assert len(rows) == 18
    folds = json.loads((cv / "folds.json").read_text())
    for one in rows:
        key = one["cell_type"], one["assay"]
        best = min(metrics[(*key, name)] for name in ("assay_mean", "assay_mean_scaled"))
        assert float(one["ratio"]) == pytest.approx(metrics[(*key, "model")] / best, rel=1e-4)
        rest = {p for f in folds if f["name"].startswith(one["fold"]) for p in (*f["train"], *f["valid"])}
        assert float(one["training_cell_type"]) == sum(p.startswith(f"{key[0]}:") for p in rest)
        assert float(one["training_assay"]) == sum(p.endswith(f":{key[1]}") for p in rest)
    correlations = [float(one["GWcorrasinh"]) for one in rows]
    assert correlations == sorted(correlations)
    assert {name for name in rows[0] if name.startswith("within")} == {"within_1sd", "within_95"}
    kept = json.loads((cv / "uncertainty.json").read_text())
    for one in table(cv / "coverage.tsv"):
        (own,) = (r for r in rows if (r["cell_type"], r["assay"]) == (one["cell_type"], one["assay"]))
        own_sd = kept["assays"][one["assay"]]["sds"][kept["cell_types"].index(one["cell_type"])]
        expected = float(one["sd"]) / own_sd
        assert float(own["relative_sd"]) == pytest.approx(expected, rel=1e-4)


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(cv, made):
    text = (made / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert found.drawn == len(NAMES)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in found.sources)
    assert "://" not in text and "<script" not in text and "default-src 'none'" in text
    # What a figure refers to is in it, under a name that no other figure has.
    assert max(Counter(found.names).values()) == 1
    referred = {source[1:] for source in found.sources if source.startswith("#")}
    assert referred | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(found.names)
    # Names are text, whatever they hold.
    assert "<cv>" not in text and "<cv> & co" in found.text
    assert "18 experiments of 6 cell types and 4 assays" in found.text


def test_the_page_says_what_it_reports(cv, made, tensor_path):
    text = Page((made / "report.html").read_text(encoding="utf-8")).text
    run = json.loads((cv / "run.json").read_text())
    assert datetime.fromisoformat(run["finished"]).tzinfo is not None
    tensor = Tensor(tensor_path)
    for told in (
        f"cross-validation in {cv}",
        f"{tensor_path}: 18 observed experiments of 6 cell types and 4 assays; {tensor.n_bins:,} bins of 25 bp",
        "rank 2, prior strength 0.1 (given)",
        "lambda 0.1, lambda_g 3, rank 2, seed 0",
        "Python: cv",
        run["finished"],
        f"predictd {run['software']['predictd']}",
    ):
        assert told in text, told


def test_points_name_their_experiments(cv, made):
    pairs = {(one["cell_type"], one["assay"]) for one in table(cv / "metrics.tsv")}
    for name, panels in (("by_assay", 3), ("baselines", 2)):
        svg = (made / "report_files" / f"{name}.svg").read_bytes()
        named = Counter(
            tuple(text.splitlines()[0].split("  ")[:2]) for text in titles(svg) if "correlation" in text
        )
        assert named == dict.fromkeys(pairs, panels)
        text = (made / "report.html").read_text(encoding="utf-8")
        assert all(f"<title>{cell}  {assay}  (fold" in text for cell, assay in pairs)


def test_figures_and_tables_stand_beside(made):
    names = {path.name for path in (made / "report_files").iterdir()}
    figures = {f"{n}.{s}" for n in NAMES for s in ("svg", "png")}
    assert names == figures | {f"{n}.tsv" for n in TABLES} | MULTIQC
    for name in NAMES:
        png = (made / "report_files" / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and min(width, height) > 200
    run = json.loads((made / "report.html.run.json").read_text())
    assert run["results"]["experiments"] == 18


def test_multiqc_gets_the_scores(cv, made):
    metrics = {
        f"{one['cell_type']}:{one['assay']}": one
        for one in table(cv / "metrics.tsv")
        if one["method"] == "model"
    }
    read = {name: json.loads((made / "report_files" / name).read_text()) for name in MULTIQC}
    general, measures = read["predictd_general_mqc.json"], read["predictd_measures_mqc.json"]
    assert general["plot_type"] == "generalstats" and measures["plot_type"] == "table"
    assert general["data"].keys() == measures["data"].keys() == metrics.keys()
    for pair, own in metrics.items():
        for name in MEASURES:
            found = {**general["data"][pair], **measures["data"][pair]}.get(name, float("nan"))
            assert found == pytest.approx(float(own[name]), rel=1e-5, nan_ok=True)
    assert {name for own in measures["data"].values() for name in own} == measures["headers"].keys()
    bars = read["predictd_assays_mqc.json"]["data"]
    expected = {r["assay"]: float(r["GWcorrasinh"]) for r in table(made / "report_files" / "by_assay.tsv")}
    assert {name: own["GWcorrasinh"] for name, own in bars.items()} == pytest.approx(expected, rel=1e-5)


def test_the_same_bytes(cv, made, tmp_path):
    done = call_predictd("report", cv, "-o", tmp_path / "report.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "report.html.run.json").write_bytes((made / "report.html.run.json").read_bytes())
    same_files(made, tmp_path)


@pytest.mark.usefixtures("blank_figures")
def test_scores_of_imputed_tracks(tmp_path):
    write_scores(tmp_path / "m.tsv", some_rows())
    (tmp_path / "imputed").mkdir()
    write_json(tmp_path / "imputed" / "run.json", {"train": ["C1:A1", "C1:A3"], "results": {"fold": "0"}})
    report(tmp_path / "imputed", tmp_path / "r.html", metrics=tmp_path / "m.tsv")
    names = {path.stem for path in (tmp_path / "r_files").glob("*.svg")}
    assert names == {"by_assay", "by_cell_type", "baselines", "training"}
    rows = {(one["cell_type"], one["assay"]): one for one in table(tmp_path / "r_files" / "experiments.tsv")}
    assert [rows["C1", "A2"][f"training_{what}"] for what in ("cell_type", "assay")] == ["2", "0"]
    # Another tool's, without baselines and without a run.json of ours; a single value is no figure.
    (tmp_path / "imputed" / "run.json").write_text("[]")
    write_scores(tmp_path / "m.tsv", some_rows()[-1:])
    report(tmp_path / "imputed", tmp_path / "s.html", metrics=tmp_path / "m.tsv")
    assert not list((tmp_path / "s_files").glob("*.svg"))
    text = Page((tmp_path / "s.html").read_text(encoding="utf-8")).text
    assert "1 experiment of 1 cell type and 1 assay was imputed by 'mine'" in text
    assert "which has no run.json of predictd" in text and "it is not known which data set was used" in text


@pytest.mark.usefixtures("blank_figures")
def test_what_other_commands_found_is_shown(tmp_path):
    write_scores(tmp_path / "metrics.tsv", some_rows())
    columns = ("cell_type", "assay", "mse", "r", "expected_r", "flags", "best_match")
    suspects = [
        ("C2", "A1", 0.5, 0.1, 0.8, "swapped,amplitude", "C1:A2"),
        ("C1", "A1", 0.1, 0.9, 0.9, ".", "C1:A1"),
    ]
    write_rows(tmp_path / "qc.tsv", columns, suspects)
    chosen = [(1, "C9", "A1", 0.25, "."), (2, "C2", "A2", 0.125, ".")]
    write_rows(tmp_path / "next.tsv", ("rank", "cell_type", "assay", "gain", "gain_per_dollar"), chosen)
    more = MoreInput(recommended=tmp_path / "next.tsv")
    report(tmp_path, tmp_path / "r.html", more=more)
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "1 of 2 observed tracks are flagged" in text and "swapped,amplitude" in text
    assert "Which experiments next" in text and "C9" in text and "gain_per_dollar" not in text
    found = {(one["cell_type"], one["assay"]): one for one in table(tmp_path / "r_files" / "experiments.tsv")}
    assert (found["C2", "A1"]["qc"], found["C1", "A1"]["qc"]) == ("swapped,amplitude", "")
    with pytest.raises(TableError, match=r"absent.tsv: No such file"):
        report(tmp_path, tmp_path / "r.html", more=MoreInput(quality=tmp_path / "absent.tsv"))
    with pytest.raises(TableError, match=r"next.tsv lacks columns: .* \(missing: flags\)"):
        report(tmp_path, tmp_path / "r.html", more=MoreInput(quality=tmp_path / "next.tsv"))


@pytest.mark.usefixtures("blank_figures")
def test_names_that_look_like_numbers_stay_names(tmp_path):
    cells = ("007", "7", "1E2")
    write_scores(tmp_path / "metrics.tsv", [row(cell, "1_0", "mine", 0.1) for cell in cells])
    columns = ("cell_type", "assay", "mse", "r", "expected_r", "flags", "best_match")
    flags = dict(zip(cells, ("dead", ".", "swapped"), strict=True))
    write_rows(tmp_path / "qc.tsv", columns, [(cell, "1_0", 0.5, 1, ".", flags[cell], "7") for cell in cells])
    chosen = [(1, "0010", "1_0", 0.25, "."), (2, "nan", "1_0", 0.125, ".")]
    write_rows(tmp_path / "rec.tsv", ("rank", "cell_type", "assay", "gain", "gain_per_dollar"), chosen)
    report(tmp_path, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    found = [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in text.splitlines()]
    for expected in ("007 1_0 0.5 1 dead 7", "1E2 1_0 0.5 1 swapped 7", "1 0010 1_0 0.25", "2 nan 1_0 0.125"):
        assert expected in found
    rows = {one["cell_type"]: one["qc"] for one in table(tmp_path / "r_files" / "experiments.tsv")}
    assert rows == {"007": "dead", "7": "", "1E2": "swapped"}


# -- examples ---------------------------------------------------------------------------------------------------------


def score_of(pair: Experiment, correlation: float) -> Score:
    return Score(pair, "0", {"GWcorrasinh": correlation, "MSEglobal": 1.0}, {})


def test_examples_of_a_cross_validation(cv, tensor_path):
    tensor = Tensor(tensor_path)
    pairs = tensor.experiments[:5]
    scores = [score_of(pair, value) for pair, value in zip(pairs, (0.3, 0.9, 0.5, 0.1, 0.4), strict=True)]
    found, rule = find_examples([*scores, score_of(tensor.experiments[5], np.nan)], Source(cv, tensor, []))
    assert [(one.rank, one.correlation) for one in found] == [("best", 0.9), ("median", 0.4), ("worst", 0.1)]
    assert "stretches of 25 kb" in rule
    whole = {name: [] for name in tensor.shard_names}
    chosen = [pairs[1], pairs[4], pairs[3]]
    application = Application(load_held_out(cv, chosen), chosen, tensor)
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            whole[name] = (
                shard.places.chrom,
                shard.places.bins(),
                shard.read(),
                np.concatenate([predicted for _, _, predicted in application.blocks(shard)]),
            )
    for index, (example, pair) in enumerate(zip(found, chosen, strict=True)):
        column = tensor.columns([pair])[0]
        for stretch in example.stretches:
            (place,) = (
                own
                for own in whole.values()
                if own[0] == stretch.chrom
                and stretch.start // 25 in own[1]
                and stretch.end // 25 - 1 in own[1]
            )
            rows = np.isin(place[1], np.arange(stretch.start // 25, stretch.end // 25))
            assert np.array_equal(stretch.observed, place[2][rows, column], equal_nan=True)
            assert stretch.imputed == pytest.approx(np.maximum(place[3][rows, index], 0), abs=1e-4)
            assert stretch.correlation == pytest.approx(np.corrcoef(stretch.observed, stretch.imputed)[0, 1])


@pytest.fixture
def logs(tmp_path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Log ratios: a tensor with one of two tracks, both as observed, and both as imputed (bins × 2)."""
    rng = np.random.default_rng(2)
    signal = rng.normal(-1, 1, (4000, 2)).astype(np.float16).astype(np.float32)
    signal[2700:2900] += 3
    inside = Experiment("C1", "A1")
    tensor = small_tensor(tmp_path / "tensor", signal[:, :1], experiments=[inside], n_shards=1)
    entries = (ExperimentEntry(cell_type="C1", assay="A1", transform="none"),)
    tensor.manifest.model_copy(update={"experiments": entries}).write(tensor.path)
    imputed = (signal + rng.normal(0, 0.5, signal.shape)).astype(np.float32)
    tracks = {"C1-A1.bw": imputed[:, 0], "C2-A1.bw": imputed[:, 1], "observed.bw": signal[:, 1]}
    for name, values in tracks.items():
        writer = BigWigWriter(tmp_path / name, {"chr1": 100_000}, bin_size=25)
        writer.add("chr1", 0, np.ascontiguousarray(values))
        writer.close()
    write_tracks(tmp_path / "tracks.tsv", {inside: "C1-A1.bw", Experiment("C2", "A1"): "C2-A1.bw"})
    (tmp_path / "truth.tsv").write_text("cell_type\tassay\tpath\ttransform\nC2\tA1\tobserved.bw\tnone\n")
    return Tensor(tensor.path), signal, imputed


def test_examples_of_imputed_log_ratios(logs, tmp_path):
    tensor, signal, imputed = logs
    scores = [score_of(Experiment("C1", "A1"), 0.8), score_of(Experiment("C2", "A1"), 0.6)]
    found, _ = find_examples(scores, Source(tmp_path, tensor, [tmp_path / "truth.tsv"]))
    assert [one.rank for one in found] == ["best", "worst"]
    # Stretches of a tenth of the bins, next to one another: the strongest and the fifth of ten, counted from 0.
    for column, example in enumerate(found):
        assert example.ticks is None and example.floor == 0
        means = signal[:, column].reshape(10, 400).mean(axis=1)
        for stretch, first in zip(example.stretches, (400 * int(means.argmax()), 2000), strict=True):
            rows = slice(first, first + 400)
            assert (stretch.start, stretch.end) == (25 * first, 25 * (first + 400))
            assert stretch.observed == pytest.approx(signal[rows, column], abs=2e-3)
            assert stretch.imputed == pytest.approx(imputed[rows, column], abs=1e-6)
            assert stretch.imputed.min() < -1
    found, why = find_examples(scores, Source(tmp_path, tensor, []))
    assert not found and "the observed track of C2:A1 is neither in" in why
    (tmp_path / "C2-A1.bw").unlink()
    found, why = find_examples(scores, Source(tmp_path, tensor, [tmp_path / "truth.tsv"]))
    assert not found and "C2-A1.bw does not exist" in why


@pytest.mark.usefixtures("blank_figures")
def test_a_data_set_that_is_gone_or_another_is_not_drawn(logs, tmp_path):
    tensor, _, _ = logs
    write_scores(tmp_path / "metrics.tsv", [row("C1", "A1", "mine", 0.1), row("C2", "A1", "mine", 0.2)])
    run = {"results": {"tensor": str(tensor.path)}, "inputs": {"tensor": "0" * 64}}
    write_json(tmp_path / "run.json", run)
    report(tmp_path, tmp_path / "r.html")
    assert "is not the data set that was used" in (tmp_path / "r.html").read_text(encoding="utf-8")
    write_json(tmp_path / "run.json", run | {"results": {"tensor": str(tmp_path / "moved")}})
    report(tmp_path, tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert (
        f"{tmp_path / 'moved'}, which is not there any more" in text and "If the data set was moved" in text
    )
    assert not (tmp_path / "r_files" / "examples.svg").exists()
    write_json(tmp_path / "metrics.tsv.run.json", {"inputs": {str(tmp_path / "truth.tsv"): "0"}})
    report(tmp_path, tmp_path / "r.html", more=MoreInput(tensor=tensor.path))
    assert (tmp_path / "r_files" / "examples.svg").exists()


def test_the_observed_tracks_of_scores_are_those_that_evaluate_names(tmp_path):
    """A list of regions is no table of tracks, whatever its suffix."""
    for name in ("truth.tsv", "promoters.txt"):
        (tmp_path / name).touch()
    inputs = {str(tmp_path / name): "0" for name in ("promoters.txt", "truth.tsv")}
    run = {"inputs": inputs, "results": {"observed": str(tmp_path / "truth.tsv")}}
    assert observed_tables(tmp_path / "imputed", run) == [tmp_path / "truth.tsv"]
    (tmp_path / "truth.tsv").unlink()
    assert not observed_tables(tmp_path / "imputed", run)


# -- files ------------------------------------------------------------------------------------------------------------


def test_svg_inside_a_page():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="72pt" '
        'viewBox="0 0 72 36"><metadata/><defs><style>*{}</style></defs><defs><path id="m" d="M 0.123456 1"/></defs>'
        f'<g id="unused" clip-path="url(#c)"><a xlink:href="{tip("a & b" + chr(10) + "c")}"><use xlink:href="#m"/></a>'
        '</g><clipPath id="c"/></svg>'
    ).encode()
    titled = with_titles(svg)
    assert titles(titled) == ["a & b\nc"] and b"metadata" not in titled and b'd="M 0.12 1"' in titled
    found = inlined(titled, "one", 'say "so"')
    assert 'href="#one-m"' in found and 'id="one-m"' in found and 'clip-path="url(#one-c)"' in found
    assert (
        "unused" not in found and "style>" not in found and "xmlns" not in found and "--width: 96px" in found
    )
    assert ElementTree.fromstring(found).attrib["aria-label"] == 'say "so"'


def test_text_is_escaped():
    table = Table(("<b>", "n"), [['"><script>', float("nan")]])
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9pt" viewBox="0 0 9 9"/>'
    section = Section(
        "x", "y & z", ("<p>",), svg, '"alt"', [("<i>", "a & b")], [("<t>", table)], ("<d>", [("<s>", "")])
    )
    text = page("<i>", ["a < b"], [section])
    found = Page(text)
    assert "<script" not in text and '"><script>' in found.text and "a < b" in found.text
    assert "<s>" not in text and "<i>" in found.text and 'aria-label="&quot;alt&quot;"' in text


def test_what_cannot_be_reported(tmp_path, monkeypatch):
    with pytest.raises(TableError, match=r"metrics.tsv does not exist: a report shows scores"):
        report(tmp_path, tmp_path / "r.html")
    write_scores(tmp_path / "metrics.tsv", some_rows())
    text = (tmp_path / "metrics.tsv").read_text()
    (tmp_path / "metrics.tsv").write_text(text.replace("0.45", "x").replace("0.8", "x"))
    with pytest.raises(TableError, match=r"metrics.tsv, line \d: could not convert"):
        report(tmp_path, tmp_path / "r.html")
    (tmp_path / "metrics.tsv").write_text("cell_type\tassay\n")
    with pytest.raises(TableError, match="lacks columns"):
        report(tmp_path, tmp_path / "r.html")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'predictd\[report\]'"):
        drawing.require_matplotlib()
    assert not (tmp_path / "r.html").exists()


@chromium.needs_chromium
def test_a_browser_shows_all_figures_and_names_their_points(made, tmp_path):
    text = (made / "report.html").read_text(encoding="utf-8")
    # What the browser says of each figure and of the points in it, in a copy that may run this one script: how many
    # figures are wide, and of how many points the thing that is drawn there has a title.
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    script = """
        addEventListener("load", () => {
            const every = [...document.querySelectorAll("svg g > title")];
            const titles = every.filter(title => title.parentNode.querySelector("use"));
            const named = titles.filter(title => {
                const point = title.parentNode.querySelector("use");
                point.scrollIntoView({block: "center"});
                const place = point.getBoundingClientRect();
                const hit = document.elementFromPoint(place.x + place.width / 2, place.y + place.height / 2);
                return hit && every.some(t => t.parentNode.contains(hit));
            });
            const wide = [...document.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width > 200);
            document.title = `${wide.length} figures, ${named.length > 0.9 * titles.length} ${titles.length}`;
        });"""
    text = text.replace("</body>", f"<script>{script}</script></body>")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    done = subprocess.run(
        [
            chromium.PROGRAM,
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    # Three panels of assays, three of cell types, two of baselines, and those of training; names of axes besides.
    found = re.search(r"<title>(\d+) figures, (true|false) (\d+)</title>", done.stdout)
    assert found is not None, done.stderr[-2000:]
    assert (found[1], found[2]) == (str(len(NAMES)), "true") and int(found[3]) >= 18 * 9


def test_pairs_without_scores_of_the_method_are_left_out():
    rows = [*some_rows(), row("C9", "A1", "assay_mean", 0.2)]
    assert Experiment("C9", "A1") not in {score.pair for score in scores_of(rows, "mine", Known())}


def test_tracks_without_a_correlation_are_no_figure(tmp_path):
    rows = [
        row("C1", "A1", "mine", 0.1, GWcorrasinh=np.nan),
        row("C2", "A2", "mine", 0.2, GWcorrasinh=np.nan),
    ]
    write_scores(tmp_path / "metrics.tsv", rows)
    report(tmp_path, tmp_path / "r.html")
    assert not list((tmp_path / "r_files").glob("*.svg"))
    assert not (tmp_path / "r_files" / "predictd_assays_mqc.json").exists()
    general = json.loads((tmp_path / "r_files" / "predictd_general_mqc.json").read_text())
    assert general["data"] == {"C1:A1": {"MSEglobal": 0.1}, "C2:A2": {"MSEglobal": 0.2}}
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert (
        "Too few experiments have a value for a figure." in text and "2 experiments of 2 cell types" in text
    )


def test_of_very_many_assays_the_best_and_the_worst_are_drawn(tmp_path):
    rows = [row("C1", f"A{i:03}", "mine", 0.1, GWcorrasinh=(i + 1) / 101) for i in range(100)]
    write_scores(tmp_path / "metrics.tsv", rows)
    report(tmp_path, tmp_path / "r.html")
    drawn = {text for text in titles((tmp_path / "r_files" / "by_assay.svg").read_bytes()) if text[0] == "A"}
    assert drawn == {f"A{i:03}" for i in (*range(30), *range(70, 100))}
    assert len(table(tmp_path / "r_files" / "by_assay.tsv")) == 100
    # The only cell type has no section.
    assert {path.name for path in (tmp_path / "r_files").glob("*.svg")} == {"by_assay.svg"}
