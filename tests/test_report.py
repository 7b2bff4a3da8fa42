"""Reports: what the tables say against numbers by hand, what the page holds, the same bytes, what is refused."""

from __future__ import annotations

import csv
import json
import re
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import chromium
from commands import call_predictd
from folders import same_files
from made_folds import FEW_SWEEPS
from predictd.config import TrainSettings
from predictd.constants import MEASURES
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, TableError
from predictd.io.files import write_json
from predictd.io.results import write_metrics
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_to_json, make_folds
from predictd.pairs import Experiment
from predictd.report import drawing
from predictd.report.page import Section, page
from predictd.report.scores import Table, by_group, experiments_table, scores_of, summary
from predictd.workflows.evaluation.report import report
from predictd.workflows.training.crossval import crossval

NAMES = ("by_assay", "by_cell_type", "baselines", "observed_imputed", "reliability", "training")
TABLES = ("by_assay", "by_cell_type", "experiments", "summary", "worst")


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
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [values[key] for key in ("src", "href") if key in values]
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


def test_groups_stand_by_their_ratio_to_the_better_baseline():
    method, scores = scores_of(some_rows(), {}, {})
    assert method == "mine" and len(scores) == 3
    found = by_group(scores, "assay")
    assert [one[0] for one in found.rows] == ["A1", "A2"]
    values = dict(zip(found.columns, found.rows[0], strict=True))
    # 0.1/0.2 and 0.8/0.4.
    assert values["ratio"] == pytest.approx(1.0) and values["better"] == 0.5 and values["experiments"] == 2
    assert values["MSEglobal"] == pytest.approx(0.45) and values["GWcorrasinh"] == pytest.approx(0.5)
    assert np.isnan(found.rows[1][found.columns.index("ratio")])
    worst = experiments_table(scores)
    assert [one[:2] for one in worst.rows] == [["C2", "A1"], ["C1", "A1"], ["C1", "A2"]]
    means = summary(method, scores)
    # Over the two experiments that have baselines.
    assert [one[:2] for one in means.rows] == [
        ["mine", pytest.approx(0.45)],
        ["assay_mean", pytest.approx(0.4)],
        ["assay_mean_scaled", pytest.approx(0.35)],
    ]


def test_two_methods_are_not_one_report():
    with pytest.raises(DataError, match=r"there are 2 \(mine, yours\); keep the rows of one"):
        scores_of([*some_rows(), row("C1", "A1", "yours", 0.1)], {}, {})


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
    ratios = [float(one["ratio"]) for one in rows]
    assert ratios == sorted(ratios, reverse=True)
    assert {name for name in rows[0] if name.startswith("within")} == {"within_1sd", "within_95"}


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(cv, made):
    text = (made / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in found.sources)
    assert sum(source.startswith("data:") for source in found.sources) == len(NAMES)
    assert "://" not in re.sub(r'src="data:[^"]*"', "", text) and "<script" not in text
    # Names are text, whatever they hold.
    assert "<cv>" not in text and "<cv> & co" in found.text
    assert "18 experiments of 6 cell types and 4 assays" in found.text


def test_figures_and_tables_stand_beside(made):
    names = {path.name for path in (made / "report_files").iterdir()}
    assert names == {f"{n}.{s}" for n in NAMES for s in ("svg", "png")} | {f"{n}.tsv" for n in TABLES}
    for name in NAMES:
        png = (made / "report_files" / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and min(width, height) > 200
    run = json.loads((made / "report.html.run.json").read_text())
    assert run["results"]["experiments"] == 18


def test_the_same_bytes(cv, made, tmp_path):
    done = call_predictd("report", cv, "-o", tmp_path / "report.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "report.html.run.json").write_bytes((made / "report.html.run.json").read_bytes())
    same_files(made, tmp_path)


def test_scores_of_imputed_tracks(tmp_path):
    write_metrics(tmp_path / "m.tsv", some_rows())
    (tmp_path / "imputed").mkdir()
    write_json(tmp_path / "imputed" / "run.json", {"train": ["C1:A1", "C1:A3"], "results": {"fold": "0"}})
    report(tmp_path / "imputed", tmp_path / "r.html", metrics=tmp_path / "m.tsv")
    names = {path.stem for path in (tmp_path / "r_files").glob("*.svg")}
    assert names == {"by_assay", "by_cell_type", "baselines", "training"}
    rows = {(one["cell_type"], one["assay"]): one for one in table(tmp_path / "r_files" / "experiments.tsv")}
    assert [rows["C1", "A2"][f"training_{what}"] for what in ("cell_type", "assay")] == ["2", "0"]
    # Another tool's, without baselines and without a run.json of ours.
    (tmp_path / "imputed" / "run.json").write_text("[]")
    write_metrics(tmp_path / "m.tsv", some_rows()[-1:])
    report(tmp_path / "imputed", tmp_path / "s.html", metrics=tmp_path / "m.tsv")
    assert {path.stem for path in (tmp_path / "s_files").glob("*.svg")} == {"by_assay", "by_cell_type"}


def test_text_is_escaped():
    table = Table(("<b>", "n"), [['"><script>', float("nan")]])
    text = page("<i>", ["a < b"], [Section("x", "y & z", ("<p>",), b"<svg/>", '"alt"', [("<t>", table)])])
    found = Page(text)
    assert "<script" not in text and '"><script>' in found.text and "a < b" in found.text


def test_what_cannot_be_reported(tmp_path, monkeypatch):
    with pytest.raises(TableError, match=r"metrics.tsv does not exist: a report shows scores"):
        report(tmp_path, tmp_path / "r.html")
    write_metrics(tmp_path / "metrics.tsv", some_rows())
    text = (tmp_path / "metrics.tsv").read_text()
    (tmp_path / "metrics.tsv").write_text(text.replace("0.45", "x").replace("0.8", "x"))
    with pytest.raises(TableError, match=r"metrics.tsv, line \d: could not convert"):
        report(tmp_path, tmp_path / "r.html")
    (tmp_path / "metrics.tsv").write_text("cell_type\tassay\n")
    with pytest.raises(TableError, match="is no such table"):
        report(tmp_path, tmp_path / "r.html")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'predictd\[report\]'"):
        drawing.require_matplotlib()
    assert not (tmp_path / "r.html").exists()


@chromium.needs_chromium
def test_a_browser_shows_all_figures(made, tmp_path):
    text = (made / "report.html").read_text(encoding="utf-8")
    # What the browser says of each image, in a copy that may run this one script.
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    text = text.replace(
        "</body>",
        "<script>addEventListener('load', () => { document.title = 'loaded ' + [...document.images]"
        ".filter(i => i.complete && i.naturalWidth > 200).length; });</script></body>",
    )
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
        timeout=120,
        check=False,
    )
    assert f"<title>loaded {len(NAMES)}</title>" in done.stdout, done.stderr[-2000:]


def test_pairs_without_scores_of_the_method_are_left_out():
    rows = [*some_rows(), row("C9", "A1", "assay_mean", 0.2)]
    assert Experiment("C9", "A1") not in {score.pair for score in scores_of(rows, {}, {})[1]}
