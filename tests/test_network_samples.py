"""Tables of samples: what they may hold, and what is told of those that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

import predictd
from made_networks import N_GENES, N_REGULATORS, simulate_expression, write_matrix
from made_samples import infer, links_of, write_table
from predictd.config import NetworkSettings
from predictd.errors import ConfigError, DataError, OutputError, PredictdError, TableError
from predictd.io.network.samples import read_samples
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.samples import SampleChoice
from refusals import refused

GENES = tuple(f"G{i}" for i in range(N_GENES))
REGULATORS = np.arange(N_REGULATORS)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """expression.tsv of eight samples, regulators.txt. Read only."""
    folder = tmp_path_factory.mktemp("case")
    genes, expression, _ = simulate_expression()
    write_matrix(folder / "expression.tsv", genes[:8], expression[:8, :8])
    (folder / "regulators.txt").write_text("G0\nG1\nG2\n")
    return folder


NAMES = [f"S{i}" for i in range(8)]


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"sample": ["X", *NAMES[1:]], "weight": [1] * 8}, ["1 of the 8 samples", "(S0)", "weight 0"]),
        (
            {"sample": [f"X{i}" for i in range(8)], "weight": [1] * 8},
            ["none of the samples", "use the same names"],
        ),
        ({"sample": ["S1", *NAMES[1:]], "weight": [1] * 8}, ["has samples twice: S1"]),
        ({"name": NAMES, "weight": [1] * 8}, ["no column of the samples' names, called sample"]),
        ({"sample": NAMES, "tissue": [1] * 8}, ["none of the columns series, time, batch, weight"]),
        ({"sample": NAMES, "wieght": [1] * 8}, ["a column wieght: if it is the weight, call it weight"]),
        ({"sample": NAMES, "batch": [1] * 8, "dataset": [1] * 8}, ["several columns of the batch"]),
        ({"sample": NAMES, "weight": [-1, *[1] * 7]}, ["the weight '-1' of S0 is not a number of 0 or more"]),
        (
            {"sample": NAMES, "weight": ["0,5", *[1] * 7]},
            [
                "the weight '0,5' of S0 is not a number; write decimals with a point, as in 0.5, not with a comma"
            ],
        ),
        ({"sample": NAMES, "weight": ["", *[1] * 7]}, ["S0 has no weight"]),
        ({"sample": NAMES, "weight": [0] * 8}, ["all weights are 0"]),
        (
            {"sample": NAMES, "weight": [1, 0, 1e17, *[2] * 5]},
            ["S2 has over 1e+12 times the weight of S0", "or 0 to leave a sample out"],
        ),
        ({"sample": NAMES, "weight": [1, 1, *[0] * 6]}, ["leaves 2 samples, too few"]),
        ({"sample": NAMES, "batch": ["a"] * 7 + [""]}, ["S7 has no batch"]),
        ({"sample": NAMES, "batch": ["a"] * 7 + ["b"]}, ["a batch has only one sample or step (b)"]),
        ({"sample": NAMES, "series": ["a"] * 8}, ["has series, but no column time"]),
        ({"sample": NAMES, "time": [""] * 8}, ["no sample has a time"]),
        ({"sample": NAMES, "time": [0, 1, 2, "3 h", 4, 5, 6, 7]}, ["the time '3 h' of S3 is not a number"]),
        ({"sample": NAMES, "time": [0, 1, 2, "inf", 4, 5, 6, 7]}, ["the time 'inf' of S3 is not a number"]),
        (
            {"sample": NAMES, "time": [0, 1, 2, 2, 4, 5, 6, 7]},
            ["S2 and S3 have the same time in the time series"],
        ),
        (
            {"sample": NAMES, "series": list("aaaabbbb"), "time": [0, 1, 2, 3, 0, 1, 1, 3]},
            ["S5 and S6 have the same time in the series b", "series of its own"],
        ),
        (
            {"sample": NAMES, "series": list("aaaabbbc"), "time": range(8)},
            ["the series c has one time only (S7)", "steady state"],
        ),
        (
            {"sample": NAMES, "series": list("aaaabbbb"), "time": [0, 1, 2, 3, 0, 1, 2, ""]},
            ["S7 has only one of series and time"],
        ),
        ({"sample": NAMES, "batch": [*"pppqqq", "NA", "q"]}, ["S6 has no batch"]),
        ({"sample": NAMES, "weight": [1] * 8, "hour": range(8)}, ["a column hour: if it is the time"]),
        (
            {"sample": NAMES, "series": list("aaaabbbb"), "time": range(8), "batch": list("ppppqqqp")},
            ["series of S4 is in the batches p and q"],
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused_in_a_line(columns, parts, case, tmp_path, engine):
    table = write_table(tmp_path / "samples.tsv", **columns)
    with refused(PredictdError, "samples.tsv", *parts):
        infer(case, tmp_path / "net", engine, table=table)
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            {"method": "clr"},
            ["clr compares genes at the same time", "give another `method`, such as et or ridge"],
        ),
        ({"method": "grnboost"}, ["grnboost cannot weigh samples"]),
        ({"decay": -1.0}, ["`decay` must be a number of 0 or more"]),
    ],
)
def test_what_methods_do_not_take_is_told(options, parts, case, tmp_path, engine):
    table = write_table(tmp_path / "s.tsv", sample=NAMES, time=range(8), weight=[1, 2] * 4)
    with refused(ConfigError, *parts):
        infer(case, tmp_path / "net", engine, table=table, **options)


def test_what_does_not_go_with_samples_is_told(case, tmp_path, engine):
    table = write_table(tmp_path / "s.tsv", sample=NAMES, weight=[1, 2] * 4)
    with refused(ConfigError, "`decay` is for time series, and", "has no column time"):
        infer(case, tmp_path / "net", engine, table=table, decay=1.0)
    plan = (case / "expression.tsv", tmp_path / "net")
    with refused(ConfigError, "`quality` leaves out samples at random"):
        genes, expression, _ = simulate_expression()
        path = write_matrix(tmp_path / "e.tsv", genes, expression)
        write_table(tmp_path / "w.tsv", sample=[f"S{i}" for i in range(40)], weight=[1, 2] * 20)
        choice = SampleChoice(tmp_path / "w.tsv")
        Inference(path, plan[1], NetworkSettings(method="ridge", quality=True), samples=choice)
    (tmp_path / "damaged.h5ad").write_bytes(b"no HDF5")
    for name, told in (("absent", "cannot read"), ("damaged", "is damaged or no AnnData file")):
        with refused(TableError, f"{name}.h5ad", told):
            infer(case, tmp_path / "net", engine, table=tmp_path / f"{name}.h5ad")
    rates = write_table(tmp_path / "rates.tsv", gene=["G0", "G1"], rate=["1", "fast"])
    timed = write_table(tmp_path / "t.tsv", sample=NAMES, time=range(8))
    with refused(TableError, "rates.tsv, line 3: the rate 'fast' of G1 is not a number of 0 or more"):
        infer(case, tmp_path / "net", engine, table=timed, decay=rates)
    header, *lines = (case / "expression.tsv").read_text().splitlines()
    columns = np.array([line.split("\t")[1:] for line in lines]).T
    nameless = tmp_path / "nameless.tsv"
    nameless.write_text("\n".join("\t".join(row) for row in [GENES[:8], *columns.tolist()]) + "\n")
    with refused(DataError, "the matrix has no names of samples", "add them as a column called 'sample'"):
        Inference(nameless, plan[1], NetworkSettings(method="ridge"), samples=SampleChoice(table))
    assert header.startswith("gene")


def test_equal_weights_and_one_batch_change_nothing_and_zero_leaves_out(case, tmp_path, engine, caplog):
    more = [*NAMES[::-1], "S99"]
    write_table(tmp_path / "equal.tsv", Cell=more, Weight=[0.3] * 9, Dataset=["x"] * 9)
    infer(case, tmp_path / "equal", engine, method="rf", table=tmp_path / "equal.tsv")
    assert "1 of the 9 samples" in caplog.text and "S99" in caplog.text
    infer(case, tmp_path / "plain", engine, method="rf", table=None)
    assert links_of(tmp_path / "equal") == links_of(tmp_path / "plain")
    write_table(tmp_path / "some.tsv", sample=NAMES, weight=[0, 2, 2, 2, 2, 2, 2, 0])
    infer(case, tmp_path / "some", engine, method="rf", table=tmp_path / "some.tsv")
    genes, expression, _ = simulate_expression()
    path = write_matrix(tmp_path / "cut.tsv", genes[:8], expression[:8, 1:7])
    settings = NetworkSettings(method="rf", trees=30)
    Inference(path, tmp_path / "cut", settings, regulators=case / "regulators.txt").make_all(engine)
    assert links_of(tmp_path / "some") == links_of(tmp_path / "cut") != links_of(tmp_path / "plain")


def test_another_table_is_another_job(case, tmp_path, engine):
    choice = {"regulators": case / "regulators.txt"}
    table = write_table(tmp_path / "s.tsv", sample=NAMES, weight=[1, 2] * 4)

    def plan():
        settings = NetworkSettings(method="ridge")
        return Inference(
            case / "expression.tsv", tmp_path / "net", settings, samples=SampleChoice(table), **choice
        )

    plan().make([0, 1], engine)
    # The order of lines is not one of its content.
    write_table(table, sample=NAMES[::-1], weight=[2, 1] * 4)
    assert plan().make([0, 1, 2], engine) == [2]
    write_table(table, sample=NAMES, weight=[2, 1] * 4)
    with pytest.raises(OutputError, match="begun differently"):
        plan().make([3], engine)


def test_frames_and_anndata_are_tables_too(case, tmp_path, engine, caplog):
    pd, anndata = pytest.importorskip("pandas"), pytest.importorskip("anndata")
    genes, expression, _ = simulate_expression()
    series = pd.Categorical(["a"] * 20 + ["b"] * 16 + [np.nan] * 4)
    time = [*range(20), *range(16), *[np.nan] * 4]
    obs = pd.DataFrame({"series": series, "time": time, "n_genes": 7}, index=[f"cell{i}" for i in range(40)])
    data = anndata.AnnData(expression.T, obs=obs, var=pd.DataFrame(index=genes))
    data.write_h5ad(tmp_path / "cells.h5ad")
    obs.drop(columns="n_genes").to_csv(tmp_path / "obs.csv")
    options = {"regulators": genes[:6], "method": "ridge", "engine": engine}
    found = [
        predictd.network.infer(data, samples=data.obs, **options),
        predictd.network.infer(tmp_path / "cells.h5ad", samples=tmp_path / "cells.h5ad", **options),
        predictd.network.infer(data.to_df(), samples=tmp_path / "obs.csv", **options),
    ]
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])
    assert not found[0].equals(predictd.network.infer(data, **options))
    named = obs.reset_index(names="sample")
    # Sorted, its index is of numbers still.
    mixed = named.sort_values("sample", ascending=False)
    again = predictd.network.infer(data, samples=mixed, **options)
    pd.testing.assert_frame_equal(again, found[0])
    with refused(TableError, "`samples` has columns twice: time"):
        predictd.network.infer(
            data, samples=named.set_axis(["sample", "time", "time", "n"], axis=1), **options
        )
    with refused(TableError, "`samples` lists no samples"):
        predictd.network.infer(data, samples=named[:0], **options)
    rates = [pd.Series(0.5, index=genes), 0.5]
    given = [predictd.network.infer(data, samples=named, decay=own, **options) for own in rates]
    pd.testing.assert_frame_equal(*given)
    with refused(ConfigError, "`decay` is for time series; give their times in `samples`"):
        predictd.network.infer(data, decay=0.5, **options)
    with refused(ConfigError, "`decay` is a number, numbers by gene, or a path"):
        predictd.network.infer(data, samples=obs, decay=[1], **options)
    assert read_samples(tmp_path / "cells.h5ad").columns.keys() == {"series", "time"}
