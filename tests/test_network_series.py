"""Time series: the regression of dynGENIE3 against plain formulas, and files as a whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from folders import same_files
from made_networks import N_GENES, N_REGULATORS, simulate_series, write_matrix
from made_samples import infer, links_of, write_table
from predictd.errors import DataError, OutputError
from predictd.grn.dynamics import TimeSteps, decay_rates, observed_production
from refusals import refused

pytestmark = pytest.mark.numeric

GENES = tuple(f"G{i}" for i in range(N_GENES))
REGULATORS = np.arange(N_REGULATORS)


def rows_by_hand(values, series, times):
    """Rows of dynGENIE3's regression, one after the other: regulators' sample, change, length of the step."""
    rows = []
    for sample, name in enumerate(series):
        if name == "":
            rows.append((sample, np.zeros(len(values))))
            continue
        later = [i for i, other in enumerate(series) if other == name and times[i] > times[sample]]
        if later:
            after = min(later, key=lambda i: times[i])
            rows.append((sample, (values[:, after] - values[:, sample]) / (times[after] - times[sample])))
    return rows


@pytest.fixture(scope="module")
def shuffled():
    """Values, series and times of three series in no order, between steady states, whose series is empty."""
    rng = np.random.default_rng(5)
    series = np.array(["a"] * 5 + ["b"] * 4 + ["c"] * 2 + [""] * 4)[order := rng.permutation(15)]
    times = np.where(series == "", np.nan, np.round(rng.uniform(-3, 9, 15), 3))
    assert order.size == 15
    values = rng.gamma(2, size=(7, 15)) * (rng.random((7, 15)) < 0.7)
    places = [np.flatnonzero(series == name) for name in "abc"]
    return values, series, times, [own[np.argsort(times[own])] for own in places]


@pytest.mark.parametrize("form", [np.array, csr_array])
def test_the_regression_is_dyngenie3s(form, shuffled):
    values, series, times, places = shuffled
    rates = np.linspace(0, 2, 7)
    steps = TimeSteps.of(places, times)
    production = observed_production(form(values), steps, rates)
    by_hand = rows_by_hand(values, series, times)
    assert steps.now.tolist() == [sample for sample, _ in by_hand] and len(by_hand) == 12
    expected = np.stack([change + rates * values[:, sample] for sample, change in by_hand], axis=1)
    found = production if form is np.array else production.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", [np.array, csr_array])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_what_varies_by_rounding_alone_does_not_vary(form, kind):
    times = np.array([1000.1, 1000.4, 1000.7, 1001.2, 1001.3, 0.1, 0.2, 0.4, 0.7, np.nan])
    steps = TimeSteps.of([np.arange(5), np.arange(5, 9)], times)
    known = np.nan_to_num(times)
    batches = np.repeat([0, 1, 2], [4, 3, 1])
    slope = np.where(np.arange(10) < 5, 0.3, -0.7)
    values = np.stack([0.1 + 0.3 * known, 0.1 + slope * known, 0.1 + slope * known + 1e-3 * np.sin(known)])
    values[:, :5] -= (slope * 1000)[:5]
    values = form(values.astype(kind).astype(np.float64))
    rates = np.array([0.0, 0, 0])
    apart = observed_production(values, steps, rates, batches)
    together = observed_production(values, steps, rates)
    apart, together = (own if form is np.array else own.toarray() for own in (apart, together))
    # By batch the first two are constant, the third is not; in all, with the steady state at 0, none is.
    assert not apart[:2].any() and np.ptp(apart[2, :4]) > 1e-4 and np.ptp(apart[2, 4:7]) > 1e-4
    np.testing.assert_allclose(together[0], [0.3] * 7 + [0], atol=1e-4)
    first = TimeSteps.of([np.arange(5)], times[:5])
    assert abs(observed_production(values[:2, :5], first, rates[:2])).sum() == 0


def test_a_gene_that_grows_linearly_and_does_not_decay_has_no_links(tmp_path, engine, caplog):
    rng = np.random.default_rng(0)
    times = np.round(np.linspace(0, 2, 12), 2)
    expression = np.vstack([rng.normal(5, 1, (5, 12)), [0.1 + 0.3 * times]])
    genes, names = [f"G{i}" for i in range(6)], [f"S{i}" for i in range(12)]
    write_matrix(tmp_path / "expression.tsv", genes, expression)
    (tmp_path / "regulators.txt").write_text("".join(f"{gene}\n" for gene in genes[:3]))
    write_table(tmp_path / "samples.tsv", sample=names, time=times)
    infer(tmp_path, tmp_path / "net", engine, method="et", decay=0.0)
    assert {target for _, target, *_ in links_of(tmp_path / "net")} == set(genes[:5])
    assert (
        "1 genes are constant in the batches and series of" in caplog.text and "no links: G5" in caplog.text
    )
    told = json.loads((tmp_path / "net" / "run.json").read_text())["results"]
    assert told["constant_genes"] == ["G5"]


@pytest.mark.parametrize("batches", [None, np.zeros(15, np.int64)])
def test_decay_rates_are_those_between_the_highest_and_the_lowest_value(batches, shuffled):
    values, _, times, places = shuffled
    values = values.copy()
    values[3] = 2.5
    lowest = min(values[:, own].min() for own in places)
    expected = np.zeros(7)
    for own in places:
        for gene, row in enumerate(values[:, own]):
            low, high = row.min(), row.max()
            if high > low:
                logs = [np.log(max(value - lowest, 1e-6)) for value in (high, low)]
                gap = abs(times[own[row.argmax()]] - times[own[row.argmin()]])
                expected[gene] = max(expected[gene], (logs[0] - logs[1]) / gap)
    found = decay_rates(csr_array(values), places, times, batches)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[3] == 0 and (np.delete(found, 3) > 0).all()


def test_the_decay_of_an_exponential_is_its_rate():
    times = np.array([0.0, 1, 3, 4])
    values = np.stack([4 * np.exp(-0.7 * times) + 1, [1.0, 1, 1, 1]])
    assert decay_rates(values, [np.arange(4)], times)[0] == pytest.approx(0.7)
    # The lowest value of all is that of the batch.
    both, later = np.concatenate([values, values - 3], axis=1), np.concatenate([times, times])
    places = [np.arange(4), np.arange(4, 8)]
    assert decay_rates(both, places, later, np.repeat([0, 1], 4))[0] == pytest.approx(0.7)
    assert decay_rates(both, places[:1], later)[0] == pytest.approx(0.7)


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """expression.tsv, regulators.txt and samples.tsv of simulated time series. Read only."""
    folder = tmp_path_factory.mktemp("timed")
    genes, expression, links, series, times = simulate_series()
    write_matrix(folder / "expression.tsv", genes, expression)
    (folder / "regulators.txt").write_text("".join(f"{gene}\n" for gene in genes[:N_REGULATORS]))
    names = [f"S{i}" for i in range(len(times))]
    write_table(folder / "samples.tsv", sample=names, series=series, time=times)
    return folder, set(links)


def n_right(output, links):
    """How many of the two best regulators of each target are its own, of 36."""
    best = {}
    for regulator, target, *_ in links_of(output):
        if int(target[1:]) >= N_REGULATORS:
            best.setdefault(target, []).append(regulator)
    return sum((regulator, target) in links for target, own in best.items() for regulator in own[:2])


@pytest.mark.parametrize("method", ["ridge", "et"])
def test_series_show_what_samples_alone_do_not(method, timed, tmp_path, engine):
    folder, links = timed
    infer(folder, tmp_path / "time", engine, method=method)
    infer(folder, tmp_path / "alone", engine, method=method, table=None)
    assert n_right(tmp_path / "time", links) >= 30 > 26 >= n_right(tmp_path / "alone", links)
    told = json.loads((tmp_path / "time" / "run.json").read_text())
    assert {name: told["results"][name] for name in ("samples", "series", "steps", "steady_states")} == {
        "samples": 84,
        "series": 6,
        "steps": 78,
        "steady_states": 0,
    }
    assert str(folder / "samples.tsv") in told["inputs"]
    # All is produced: signs are +.
    right = [
        sign for regulator, target, _, sign in links_of(tmp_path / "time") if (regulator, target) in links
    ]
    assert right.count("+") >= 34


def test_rates_that_were_estimated_may_be_given(timed, tmp_path, engine):
    folder, _ = timed
    infer(folder, tmp_path / "estimated", engine)
    rates = tmp_path / "estimated" / "decay.tsv"
    infer(folder, tmp_path / "given", engine, decay=rates)
    assert links_of(tmp_path / "given") == links_of(tmp_path / "estimated")
    infer(folder, tmp_path / "one", engine, decay=0.4)
    assert links_of(tmp_path / "one") != links_of(tmp_path / "estimated")
    with refused(OutputError, "made differently (settings.decay: 0.4, now 0.5)"):
        infer(folder, tmp_path / "one", engine, decay=0.5)
    assert {
        line.split("\t")[1] for line in (tmp_path / "one" / "decay.tsv").read_text().split("\n")[1:-1]
    } == {"0.4"}
    short = write_table(tmp_path / "rates.tsv", gene=GENES[:20], rate=[0.3] * 20)
    with refused(DataError, "rates.tsv has no rate of G20, G21, G22, G23, which is 4 of the 24 targets"):
        infer(folder, tmp_path / "short", engine, decay=short)
    infer(folder, tmp_path / "short", engine, decay=short, targets=["G7", "G8"])


def test_workers_change_no_bit(timed, tmp_path, engine, single):
    folder, _ = timed
    names = [f"S{i}" for i in range(84)]
    _, _, _, series, times = simulate_series()
    batches = [f"batch {int(name[-1]) // 2}" for name in series]
    write_table(
        tmp_path / "all.tsv", sample=names, series=series, time=times, batch=batches, weight=[1, 1, 2] * 28
    )
    for name, workers in (("two", engine), ("one", single)):
        infer(folder, tmp_path / name, workers, method="rf", table=tmp_path / "all.tsv")
    assert same_files(tmp_path / "one", tmp_path / "two") == [
        "decay.tsv",
        "links.tsv",
        "network.h5",
        "run.json",
    ]
    told = json.loads((tmp_path / "one" / "run.json").read_text())["results"]
    assert (told["batches"], told["weighted"]) == (3, True)
