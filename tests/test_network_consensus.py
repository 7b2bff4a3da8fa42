"""Several networks: how far they agree, and their mean rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import predictd
from commands import call_predictd
from made_networks import simulate_expression, write_network_case
from predictd.config import NetworkSettings
from predictd.errors import ConfigError, DataError
from predictd.grn.consensus import agreement, rank_average
from predictd.grn.links import Links
from predictd.grn.scores import score_links
from predictd.io.network.link_lists import read_link_list
from predictd.workflows.network.combine import combine_networks
from predictd.workflows.network.evaluate import COLUMNS, evaluate_network
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links


def links_of(*rows):
    return Links.of_list(*zip(*rows, strict=True))


def scores_of(links):
    names = zip(links.indices.tolist(), links.rows().tolist(), links.importances.tolist(), strict=True)
    return {(links.regulators[r], links.targets[t]): w for r, t, w in names}


def test_mean_ranks_by_hand():
    one = links_of(("a", "x", 9.0), ("b", "x", 5.0), ("a", "y", 5.0))
    other = links_of(("b", "x", 0.2), ("c", "z", 0.1))
    # Ranks among four links: 1, 2½, 2½, 4 and 3½, 1, 3½, 2.
    together = rank_average([one, other])
    expected = {("a", "x"): 2.25, ("b", "x"): 1.75, ("a", "y"): 3.0, ("c", "z"): 3.0}
    assert scores_of(together) == {pair: 1 - (rank - 1) / 4 for pair, rank in expected.items()}
    assert together.regulators == ("a", "b", "c") and together.targets == ("x", "y", "z")
    ((i, j, r, share),) = agreement([one, other], 2)
    assert (i, j, share) == (0, 1, 0.5) and np.isnan(r), "they have one link in common"
    more = links_of(("b", "x", 3.0), ("a", "x", 2.0), ("a", "y", 1.0), ("c", "y", 7.0))
    ((_, _, r, _),) = agreement([one, more], 2)
    assert r == pytest.approx(spearmanr([9, 5, 5], [2, 3, 1])[0])


def test_first_links_are_those_that_a_network_lists():
    """None is filled up with the other's."""
    short = links_of(("a", "x", 1.0))
    assert agreement([short, links_of(("b", "y", 1.0))], 10)[0][3] == 0.0
    one = links_of(("a", "x", 2.0), ("a", "y", 1.0))
    three = links_of(("b", "x", 3.0), ("b", "y", 2.0), ("b", "z", 1.0))
    assert agreement([one, three], 3)[0][3] == 0.0
    # Of two and three links, one is in both.
    other = links_of(("b", "x", 3.0), ("a", "y", 2.0), ("b", "z", 1.0))
    assert agreement([one, other], 3)[0][3] == pytest.approx(1 / 3)
    assert agreement([one, other], 2)[0][3] == pytest.approx(1 / 2)
    assert agreement([short, short], 10)[0][3] == 1.0


def test_a_network_agrees_with_itself():
    rng = np.random.default_rng(0)
    one = links_of(*((f"r{i}", f"t{j}", rng.random()) for i in range(4) for j in range(9)))
    same, _, flat = agreement([one, one, links_of(("r0", "t0", 1.0))], 10)
    assert same[2] == pytest.approx(1.0) and same[3] == 1.0
    assert flat[:2] == (1, 2)
    assert rank_average([one, one]).ranked().size == len(one)
    np.testing.assert_array_equal(
        np.argsort(rank_average([one, one]).importances), np.argsort(one.selected().importances)
    )


def test_networks_are_combined_by_command_and_in_python(tmp_path):
    pd = pytest.importorskip("pandas")
    rows = (("a", "x", 9.0, "+"), ("b", "x", 5.0, "-")), (("b", "x", 0.2, "-"), ("c", "z", 0.1, "+"))
    frames = [pd.DataFrame(own, columns=["regulator", "target", "importance", "sign"]) for own in rows]
    for name, own in zip(("one.tsv", "other.csv"), frames, strict=True):
        own.to_csv(tmp_path / name, sep="," if name.endswith("csv") else "\t", index=False)
    paths = [tmp_path / "one.tsv", tmp_path / "other.csv"]
    assert combine_networks(paths, tmp_path / "both.tsv") == 3
    # Ranks 2 and 1, 1 and 3, 3 and 2 among three links.
    lines = ["b\tx\t0.8333333333\t-", "a\tx\t0.6666666667\t+", "c\tz\t0.5\t+"]
    assert (tmp_path / "both.tsv").read_text().splitlines()[1:] == lines
    assert (tmp_path / "both.tsv.run.json").is_file()
    together = predictd.network.combine([frames[0], tmp_path / "other.csv"])
    assert ["\t".join((r, t, f"{w:.10g}", s)) for r, t, w, s in together.itertuples(index=False)] == lines
    (tmp_path / "copy.tsv").write_bytes(paths[0].read_bytes())
    for networks, output, message in (
        (paths[:1], "x.tsv", "takes two or more"),
        (paths[:1] * 2, "x.tsv", "a network is given twice"),
        (paths, "x", "has to be a list"),
        (
            [paths[0], tmp_path / "copy.tsv"],
            "x.tsv",
            r"have the same links: .*one.tsv, .*copy.tsv; give each once",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            combine_networks(networks, tmp_path / output)
    with pytest.raises(ConfigError, match="takes two or more"):
        predictd.network.combine(frames[:1])
    with pytest.raises(ConfigError, match="have the same links: number 1, number 3"):
        predictd.network.combine([*frames, frames[0]])
    # Other importances, or other links, are another network.
    for change in ({"importance": frames[0]["importance"] * 1.001}, {"target": "y"}):
        assert len(predictd.network.combine([frames[0], frames[0].assign(**change)])) in (2, 4)


def test_a_network_and_its_list_do_not_count_twice(networks, tmp_path):
    one = [networks / "one", networks / "one" / "links.tsv"]
    for make in (
        lambda: combine_networks([networks / "two", *one], tmp_path / "x.tsv"),
        lambda: evaluate_network(
            one[0],
            networks / "gold.tsv",
            tmp_path / "x.tsv",
            beside=one[1:],
            consensus=tmp_path / "list.tsv",
        ),
    ):
        with pytest.raises(ConfigError, match=r"have the same links: .*one, .*links.tsv; give each once"):
            make()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def networks(tmp_path_factory, engine):
    """one and two, forests of other seeds, and ridge, with gold.tsv. Read only."""
    path = tmp_path_factory.mktemp("networks")
    write_network_case(path)
    rf = NetworkSettings(trees=20)
    for name, settings, seed in (
        ("one", rf, 1),
        ("two", rf, 2),
        ("ridge", NetworkSettings(method="ridge"), 0),
    ):
        plan = Inference(
            path / "expression.tsv", path / name, settings, regulators=path / "regulators.txt", seed=seed
        )
        plan.make_all(engine)
    return path


def read_table(path):
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_networks_beside_each_other_are_scored_and_compared(networks, tmp_path):
    output = tmp_path / "eval.tsv"
    others = [networks / "two", networks / "ridge"]
    scores = evaluate_network(
        networks / "one",
        networks / "gold.tsv",
        output,
        beside=others,
        consensus=tmp_path / "together.tsv",
    )
    rows = read_table(output)
    assert [row["method"] for row in rows] == ["one", "two", "ridge", "consensus"]
    assert tuple(rows[0]) == COLUMNS and rows[0]["aupr"] == f"{scores['one'].aupr:.6g}"
    alone = evaluate_network(networks / "ridge", networks / "gold.tsv", tmp_path / "alone.tsv")
    assert rows[2]["aupr"] == f"{alone['ridge'].aupr:.6g}"
    together = rank_average([load_links(path)[0] for path in (networks / "one", *others)])
    gold = simulate_expression()[2]
    assert rows[3]["aupr"] == f"{score_links(together, gold).aupr:.6g}"
    listed = read_link_list(tmp_path / "together.tsv")
    assert len(listed[0]) == len(together) and listed[2] == sorted(listed[2], reverse=True)
    pairs = read_table(tmp_path / "eval.tsv.agreement.tsv")
    assert [(row["one"], row["other"]) for row in pairs] == [
        ("one", "two"),
        ("one", "ridge"),
        ("two", "ridge"),
    ]
    seeds, methods = float(pairs[0]["spearman"]), float(pairs[1]["spearman"])
    assert 0.6 < seeds < 1 and methods < seeds
    assert all(row["first"] == "36" and 0.5 < float(row["in_common"]) <= 1 for row in pairs)


def test_a_single_network_has_neither(networks, tmp_path):
    evaluate_network(networks / "one", networks / "gold.tsv", tmp_path / "eval.tsv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eval.tsv", "eval.tsv.run.json"]
    with pytest.raises(ConfigError, match="a consensus needs more than one network"):
        evaluate_network(
            networks / "one",
            networks / "gold.tsv",
            tmp_path / "more.tsv",
            consensus=tmp_path / "list.tsv",
        )


def test_the_command_line_compares(networks, tmp_path):
    given = ("network", "evaluate", networks / "one", networks / "gold.tsv", "-o", "eval.tsv")
    done = call_predictd(*given, "--beside", networks / "ridge", "--consensus", "both.tsv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["method"] for row in read_table(tmp_path / "eval.tsv")] == ["rf", "ridge", "consensus"]
    assert [line.partition(": AUPR")[0] for line in done.stdout.splitlines()[:3]] == [
        "rf",
        "ridge",
        "consensus",
    ]
    assert (tmp_path / "both.tsv").read_text().startswith("regulator\ttarget\timportance\tsign\n")


def test_networks_of_one_name_are_told_apart_by_their_paths(networks, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").symlink_to(networks / "one")
    monkeypatch.chdir(tmp_path)
    gold, first, other = networks / "gold.tsv", networks / "one", Path("a/one")
    scores = evaluate_network(first, gold, tmp_path / "eval.tsv", beside=[other])
    assert list(scores) == [str(first), "a/one"]
    with pytest.raises(ConfigError, match="a network is given twice"):
        evaluate_network(first, gold, tmp_path / "more.tsv", beside=[first])


def test_a_consensus_has_a_name_of_its_own(networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = networks / "one", networks / "gold.tsv"
    evaluate_network(*given, Path("ev.tsv"), beside=[networks / "two"], consensus=Path("consensus.tsv"))
    alone = evaluate_network(Path("consensus.tsv"), given[1], Path("alone.tsv"))["consensus"]
    found = evaluate_network(*given, Path("ev.tsv"), beside=[Path("consensus.tsv")], consensus=Path("2.tsv"))
    assert list(found) == ["one", "consensus.tsv", "consensus"] and found["consensus.tsv"] == alone
    assert found["consensus"] != alone
    with pytest.raises(ConfigError, match="two rows would be called consensus: give another `name`"):
        evaluate_network(
            *given, Path("x.tsv"), name="consensus", beside=[networks / "two"], consensus=Path("y.tsv")
        )
    assert not Path("x.tsv").exists() and not Path("y.tsv").exists()


@pytest.mark.parametrize(("n_common", "told"), [(0, None), (1, "1 of 4 genes of a.tsv and b.tsv"), (2, "")])
def test_networks_need_genes_in_common(n_common, told, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    names = [*"abcd"[:n_common], *"wxyz"[n_common:]]
    Path("a.tsv").write_text("a\tb\t1\nc\td\t2\n")
    Path("b.tsv").write_text(f"{names[0]}\t{names[1]}\t1\n{names[2]}\t{names[3]}\t2\n")
    paths = [Path("a.tsv"), Path("b.tsv")]
    if told is None:
        with pytest.raises(
            DataError, match=r"a.tsv \(a, b, c and 1 more\) and b.tsv .* have no gene in common"
        ):
            combine_networks(paths, Path("both.tsv"))
        assert not Path("both.tsv").exists()
        return
    combine_networks(paths, Path("both.tsv"))
    assert (told in caplog.text) if told else not caplog.text
