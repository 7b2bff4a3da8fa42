"""No command writes over what it reads."""

from __future__ import annotations

import shutil

import pytest

from commands import call_predictd
from folders import contents


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Files that commands read, each in its directory. Read only."""
    path = tmp_path_factory.mktemp("inputs")
    links = "regulator\ttarget\timportance\na\tb\t1\na\tc\t0.5\nd\te\t0.2\n"
    (path / "net").mkdir()
    for name in ("my.tsv", "gold.tsv", "net/links.tsv", "net/network.h5", "net/run.json", "imp/tracks.tsv"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(links)
    (path / "other.tsv").write_text(links.replace("0.5", "3"))
    (path / "link.tsv").symlink_to("my.tsv")
    (path / "sets.gmt").write_text("s\tset\ta\tb\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("network evaluate my.tsv gold.tsv -o gold.tsv", "gold.tsv is an input, too,"),
        ("network evaluate my.tsv gold.tsv -o net/../my.tsv", "my.tsv is an input, too,"),
        (
            "network evaluate my.tsv gold.tsv --beside other.tsv --consensus gold.tsv -o ev.tsv",
            "gold.tsv is an",
        ),
        (
            "network evaluate my.tsv gold.tsv --beside other.tsv --consensus ev.tsv -o ev.tsv",
            "for two outputs",
        ),
        (
            "network evaluate my.tsv gold.tsv --beside other.tsv --consensus c.tsv -o my.tsv/ev.tsv",
            "cannot write",
        ),
        ("network evaluate my.tsv gold.tsv --beside other.tsv --consensus c.tsv -o net", "it is a directory"),
        ("network aucell my.tsv sets.gmt -o my.tsv", "my.tsv is an input, too,"),
        ("network enrich my.tsv sets.gmt -o sets.gmt", "sets.gmt is an input, too,"),
        ("network enrich my.tsv sets.gmt --groups g.gmt -o g.gmt", "g.gmt is an input, too,"),
        ("network filter my.tsv -o my.tsv --top 2", "my.tsv is an input, too,"),
        ("network filter link.tsv -o my.tsv --top 2", "my.tsv is an input, too,"),
        ("network filter net -o net/links.tsv --top 2", "net/links.tsv belongs to net and"),
        ("network filter net/network.h5 -o net/links.tsv --top 2", "links.tsv belongs to net/network.h5"),
        ("network combine net my.tsv -o net/links.tsv", "net/links.tsv belongs to net and"),
        ("network combine other.tsv my.tsv -o my.tsv", "my.tsv is an input, too,"),
        ("evaluate imp gold.tsv -o gold.tsv", "gold.tsv is an input, too,"),
        ("recommend net --cost gold.tsv -o gold.tsv", "gold.tsv is an input, too,"),
        ("qc net --moments gold.tsv -o gold.tsv", "gold.tsv is an input, too,"),
        ("extend my.tsv net gold.tsv -o my.tsv", "my.tsv is an input, too,"),
        ("export imp gold.tsv --regions gold.tsv", "gold.tsv is an input, too,"),
        ("export imp imp/tracks.tsv", "imp/tracks.tsv belongs to imp and"),
        ("report imp -o gold.tsv --metrics gold.tsv", "gold.tsv is an input, too,"),
        ("tune net --config gold.tsv -o gold.tsv", "gold.tsv is an input, too,"),
        ("peaks imp -o imp", "imp is an input, too,"),
        ("binarise imp -o imp", "imp is an input, too,"),
        ("factors my.tsv -o out --regions a=out", "out is an input, too,"),
    ],
)
def test_no_command_overwrites_its_input(arguments, message, inputs):
    before = contents(inputs)
    done = call_predictd(*arguments.split(), cwd=inputs)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr and contents(inputs) == before


def test_an_earlier_output_may_be_in_the_directory_of_an_input(inputs, tmp_path):
    shutil.copytree(inputs, tmp_path / "own")
    for top, lines in (("1", 2), ("2", 3)):
        done = call_predictd(
            *("network", "filter", "my.tsv", "-o", "strong.tsv", "--top", top), cwd=tmp_path / "own"
        )
        assert done.returncode == 0, done.stderr
        assert len((tmp_path / "own" / "strong.tsv").read_text().splitlines()) == lines
