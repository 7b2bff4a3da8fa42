"""Filtering: limits on links, lists longer than memory, the same bytes by any way."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

from commands import call_predictd
from made_networks import write_link_case, write_network_case
from predictd.config import NetworkSettings
from predictd.errors import ConfigError, DataError, NetworkFormatError, OutputError, TableError
from predictd.grn.links import Links
from predictd.io.network import link_lists
from predictd.io.network.forms import write_links
from predictd.io.network.link_lists import StreamedLinks, Units, stream_links
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links, read_links


@pytest.fixture(scope="module")
def network(tmp_path_factory, engine):
    """net, of ridge, and list.tsv, of another tool. Read only."""
    path = tmp_path_factory.mktemp("network")
    write_network_case(path)
    plan = Inference(
        path / "expression.tsv",
        path / "net",
        NetworkSettings(method="ridge"),
        regulators=path / "regulators.txt",
    )
    plan.make_all(engine)
    write_link_case(path / "list.tsv")
    return path


def by_hand(rows, *, min_importance=None, top_per_target=None, top=None):
    """What the limits leave, as plainly as can be."""
    rows = sorted(rows, key=lambda row: (-float(row[2]), row[1], row[0]))
    if min_importance is not None:
        rows = [row for row in rows if float(row[2]) >= min_importance]
    if top_per_target is not None:
        rows = [
            row
            for place, row in enumerate(rows)
            if sum(other[1] == row[1] for other in rows[:place]) < top_per_target
        ]
    return rows[:top]


LIMITS = [
    {"min_importance": 0.4},
    {"top": 7},
    {"top_per_target": 2},
    {"min_importance": 0.1, "top_per_target": 3, "top": 20},
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("pieces", [1, 7])
def test_lists_are_filtered_as_by_hand(limits, pieces, network, tmp_path, engine, monkeypatch):
    size = (network / "list.tsv").stat().st_size
    monkeypatch.setattr(link_lists, "_PIECE_BYTES", size + 1 if pieces == 1 else size // pieces)
    count = filter_network(network / "list.tsv", tmp_path / "out.tsv", Limits(**limits), engine)
    expected = by_hand(stream_links(network / "list.tsv"), **limits)
    text = "".join("\t".join(row) + "\n" for row in [("regulator", "target", "importance"), *expected])
    assert (tmp_path / "out.tsv").read_text() == text and count == len(expected) > 1
    told = json.loads((tmp_path / "out.tsv.run.json").read_text())
    assert told["results"]["links"] == count and len(told["inputs"]) == 1


@pytest.mark.parametrize("limits", LIMITS)
def test_networks_are_filtered_as_their_lists(limits, network, tmp_path, engine):
    filter_network(network / "net", tmp_path / "net", Limits(**limits), engine)
    filter_network(network / "net", tmp_path / "a.tsv", Limits(**limits), engine)
    filter_network(network / "net" / "links.tsv", tmp_path / "b.tsv.gz", Limits(**limits), engine)
    text = (tmp_path / "a.tsv").read_text()
    assert gzip.decompress((tmp_path / "b.tsv.gz").read_bytes()).decode() == text
    assert (tmp_path / "net" / "links.tsv").read_text() == text
    links, info = read_links(tmp_path / "net")
    assert info["method"] == "ridge" and info["filtered"][0]["top"] == limits.get("top")
    order = links.ranked()
    assert [links.targets[t] for t in links.rows()[order]] == [
        line.split("\t")[1] for line in text.splitlines()[1:]
    ]
    assert (np.diff(links.importances)[np.diff(links.rows()) == 0] <= 0).all()


def test_lists_become_networks(network, tmp_path, engine):
    filter_network(network / "list.tsv", tmp_path / "net", Limits(top=30), engine)
    filter_network(network / "list.tsv", tmp_path / "list.tsv", Limits(top=30), engine)
    net, method = load_links(tmp_path / "net")
    listed, _ = load_links(tmp_path / "list.tsv")
    assert method == "list" and len(net) == 30

    def pairs(links):
        regulators = [links.regulators[i] for i in links.indices]
        return dict(
            zip(
                zip(regulators, [links.targets[t] for t in links.rows()], strict=True),
                links.importances,
                strict=True,
            )
        )

    assert pairs(net) == pairs(listed)


def test_limits_on_links_in_memory_are_those_by_hand():
    rng = random.Random(0)
    rows = [(f"r{i}", f"t{j}", f"{rng.choice([0.5, 1, 2, 3])}") for i in range(9) for j in range(7)]
    rng.shuffle(rows)
    links = Links.of_list(*zip(*[(r, t, float(w)) for r, t, w in rows], strict=True))
    for limits in LIMITS:
        found = links.selected(**limits)
        got = {
            (found.regulators[r], found.targets[t]) for r, t in zip(found.indices, found.rows(), strict=True)
        }
        assert got == {row[:2] for row in by_hand(rows, **limits)}
        assert found.targets == links.targets and found.indptr[-1] == len(found)


def test_links_exactly_at_the_limit_are_kept(tmp_path):
    """Of a list as a stream and of links in memory alike; 0.1 is no number of binary digits."""
    rows = [("a", "x", "0.1"), ("a", "y", "0.10"), ("b", "x", "0.2"), ("b", "y", "0.099999")]
    write_links(tmp_path / "list.tsv", rows)
    table = StreamedLinks(tmp_path / "list.tsv")
    streamed = table.chosen(min_importance=0.1, top_per_target=None, top=None)
    assert list(streamed) == [rows[2], rows[0], rows[1]]
    found = load_links(tmp_path / "list.tsv")[0].selected(min_importance=0.1)
    kept = [(found.regulators[r], found.targets[t]) for r, t in zip(found.indices, found.rows(), strict=True)]
    assert kept == [("b", "x"), ("a", "x"), ("a", "y")]


def test_forms_of_lists_are_read_alike(tmp_path, engine):
    rows = [("a", "x", "3"), ("b", "x", "2.50"), ("a", "y", "1e-3")]
    expected = None
    forms = {
        "tabs.tsv": "TF\ttarget\timportance\n" + "".join("\t".join(row) + "\n" for row in rows),
        "blanks.txt": "# made by hand\n\n" + "".join(" ".join(row) + "\r\n" for row in rows),
        "commas.txt": "".join(",".join(f'"{field}"' for field in row) + "\n" for row in rows),
        "twice.tsv": "TF\ttarget\tweight\n"
        + "\t".join(rows[0])
        + "\nTF\ttarget\tweight\n"
        + "".join("\t".join(row) + "\n" for row in rows[1:]),
    }
    forms["named.tsv"] = "target\tnote\tEdgeWeight\tGene1\n" + "".join(
        f"{b}\t7\t{w}\t{a}\n" for a, b, w in rows
    )
    forms["named.csv.txt"] = ",TF,target,importance\n" + "".join(
        f"{number},{a},{b},{w}\n" for number, (a, b, w) in enumerate(rows)
    )
    for name, text in forms.items():
        (tmp_path / name).write_text(text, newline="")
        filter_network(tmp_path / name, tmp_path / "out.tsv", Limits(top=9), engine)
        got = (tmp_path / "out.tsv").read_text()
        expected = expected or got
        assert got == expected
    assert expected.splitlines()[1:] == ["a\tx\t3", "b\tx\t2.50", "a\ty\t1e-3"]


def test_packed_lists_have_the_same_bytes_again(tmp_path):
    for name in ("one.tsv.gz", "other.tsv.gz"):
        assert write_links(tmp_path / name, [("a", "b", "1")]) == 1
    assert (tmp_path / "one.tsv.gz").read_bytes() == (tmp_path / "other.tsv.gz").read_bytes()
    assert list(stream_links(tmp_path / "one.tsv.gz")) == [("a", "b", "1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\t1\nc\td\n", "line 2: expected regulator, target and weight"),
        ("a\tb\t1\n\tb\t1\n", "line 2: expected regulator, target and weight"),
        ("a\tb\t1\nc\td\tx\n", "line 2: the weight 'x' is not a finite number"),
        ("a\tb\t1\nc\td\tinf\n", "line 2: the weight 'inf' is not a finite number"),
        ("a\tb\t1\nc\td\t1e999\n", "line 2: the weight '1e999' is not a finite number"),
        ("a\tb\t1\na\tb\t2\n", "has the link a to b twice"),
    ],
)
def test_bad_lists_are_told_and_nothing_is_left(text, message, tmp_path, engine):
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(TableError, match=message):
        filter_network(tmp_path / "list.tsv", tmp_path / "out.tsv", Limits(top=5), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]


def test_what_cannot_be_filtered_is_told(network, tmp_path, engine):
    with pytest.raises(ConfigError, match="nothing to filter by"):
        filter_network(network / "net", tmp_path / "out", Limits(), engine)
    for name, told in (("net", r"the highest importance is [\d.]+\)"), ("list.tsv", "is left")):
        with pytest.raises(DataError, match=f"{told}; lower `min_importance`"):
            filter_network(network / name, tmp_path / "out.tsv", Limits(min_importance=1e9), engine)
    with pytest.raises(ConfigError, match="`min_importance` has to be a number, not nan"):
        Limits(min_importance=float("nan"))
    with pytest.raises(NetworkFormatError, match="does not exist"):
        filter_network(network / "absent", tmp_path / "out.tsv", Limits(top=1), engine)
    with pytest.raises(OutputError, match=r"holds network.h5 already"):
        filter_network(network / "list.tsv", network / "net", Limits(top=1), engine)
    assert not list(tmp_path.iterdir())


def test_the_command_line_filters(network, tmp_path):
    few = ("network", "filter", network / "net", "-o", "few")
    done = call_predictd(*few, "--top", 5, "--workers", 1, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "few: 5 links\n", "")
    lines = (network / "net" / "links.tsv").read_text().splitlines()[:6]
    assert (tmp_path / "few" / "links.tsv").read_text().splitlines() == lines
    done = call_predictd("network", "filter", network / "net", "-o", "few", cwd=tmp_path)
    assert done.returncode == 2 and "give --min-importance" in done.stderr


def test_degrees_of_a_stream_are_exact(tmp_path):
    weights = [0.1, 0.2, 0.3, -0.25]
    rows = [("a", "b", "0.1"), ("a", "c", "0.2"), ("b", "c", "0.3"), ("c", "c", "-0.25")]
    write_links(tmp_path / "list.tsv", rows)
    table = StreamedLinks(tmp_path / "list.tsv")
    assert table.extent() == (4, 0.3)
    whole = [round(abs(weight) * 2**40) for weight in weights]
    assert list(table.degrees(Units(40, 20))) == [
        ("a", 0, 2, 0, whole[0] + whole[1]),
        ("b", 1, 1, whole[0], whole[2]),
        ("c", 3, 1, whole[1] + whole[2] + whole[3], whole[3]),
    ]
