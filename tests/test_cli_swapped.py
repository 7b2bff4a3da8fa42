"""Arguments in the wrong order are named as such, and shown in the right one."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click
import pytest

from commands import call_predictd, every_command
from made_folds import few_folds
from made_networks import write_network_case
from predictd.cli.options import PathOrUrl
from predictd.cli.swapped import LOOKS
from predictd.io.tensor.store import Tensor

QUICK = "[train]\nsolver = 'em'\nrank = 2\nlambda = 0.1\n[train.als]\nstarts = 1\nmax_sweeps = 20\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: Path, tensor_path: Path) -> Path:
    """What commands take: tracks.tsv, a tensor, m.h5, imputed tracks, a network, and tables of genes."""
    made = tmp_path_factory.mktemp("swapped")
    shutil.copytree(data, made, dirs_exist_ok=True)
    shutil.copytree(tensor_path, made / "tensor")
    (made / "quick.toml").write_text(QUICK)
    write_network_case(made)
    (made / "labels.tsv").write_text("gene\tlabel\n" + "".join(f"G{i}\tclass{i % 2}\n" for i in range(24)))
    (made / "sets.gmt").write_text("a set\tmade\t" + "\t".join(f"G{i}" for i in range(8)) + "\n")
    few_folds(Tensor(tensor_path), made / "folds.json")
    for line in (
        "train tensor -o m.h5 --config quick.toml",
        "cv tensor -o cv --config quick.toml --folds folds.json",
        "impute m.h5 tensor -o imputed",
        "network infer expression.tsv -o net --trees 5",
    ):
        done = call_predictd(*line.split(), cwd=made)
        assert done.returncode == 0, done.stderr
    (made / "other-tool").mkdir()
    shutil.copy(made / "imputed" / "tracks.tsv", made / "other-tool")
    return made


@pytest.mark.parametrize(
    ("typed", "names", "right"),
    [
        (
            "ingest new tracks.tsv --genome genome.chrom.sizes",
            "TRACKS|MATRIX and TENSOR",
            "ingest tracks.tsv new …",
        ),
        ("impute tensor m.h5 -o again", "MODEL and TENSOR", "impute m.h5 tensor -o again"),
        ("impute tensor cv -o again", "MODEL and TENSOR", "impute cv tensor -o again"),
        ("impute nowhere m.h5 -o again", "MODEL and TENSOR", "impute m.h5 nowhere -o again"),
        ("factors tensor m.h5 -o means", "MODEL and TENSOR", "factors m.h5 tensor -o means"),
        (
            "evaluate truth.tsv imputed -o s.tsv",
            "DIRECTORY and TRACKS",
            "evaluate imputed truth.tsv -o s.tsv",
        ),
        (
            "evaluate truth.tsv cv imputed -o s.tsv",
            "DIRECTORY and TRACKS",
            "evaluate imputed cv truth.tsv -o s.tsv",
        ),
        ("extend tensor m.h5 new.tsv -o e.h5", "MODEL and TENSOR", "extend m.h5 tensor new.tsv -o e.h5"),
        (
            "extend truth.tsv tensor m.h5 -o e.h5",
            "MODEL and TRACKS",
            "extend m.h5 tensor truth.tsv -o e.h5",
        ),
        (
            "extend truth.tsv m.h5 tensor -o e.h5",
            "MODEL, TENSOR and TRACKS",
            "extend m.h5 tensor truth.tsv -o e.h5",
        ),
        ("train model.h5 -o tensor", "TENSOR and -o", "train tensor -o model.h5"),
        ("qc qc.tsv -o tensor", "TENSOR and -o", "qc tensor -o qc.tsv"),
        ("export out.zarr tensor", "SOURCE and OUTPUT", "export tensor out.zarr"),
        ("hub hubs -o imputed", "SOURCE and -o", "hub imputed -o hubs"),
        ("report page.html -o cv", "DIRECTORY and -o", "report cv -o page.html"),
        (
            "network evaluate gold.tsv net -o e.tsv",
            "NETWORK and GOLD",
            "network evaluate net gold.tsv -o e.tsv",
        ),
        ("network enrich sets.gmt net -o e.tsv", "NETWORK and SETS", "network enrich net sets.gmt -o e.tsv"),
        (
            "network classify labels.tsv net -o c",
            "NETWORK and LABELS",
            "network classify net labels.tsv -o c",
        ),
    ],
)
def test_swapped_arguments_are_told_in_the_right_order(typed, names, right, folder):
    before = sorted(folder.iterdir())
    done = call_predictd(*typed.split(), cwd=folder)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == f"predictd: error: {names} look swapped; in the right order: predictd {right}\n"
    assert sorted(folder.iterdir()) == before


def test_the_right_order_runs(folder):
    """What is shown can be copied, also where a name has blanks."""
    shutil.copy(folder / "m.h5", folder / "my model.h5")
    done = call_predictd("impute", "tensor", "my model.h5", "-o", "by copy", cwd=folder)
    words = shlex.split(done.stderr.partition("right order: ")[2])
    assert words == ["predictd", "impute", "my model.h5", "tensor", "-o", "by copy"]
    assert call_predictd(*words[1:], cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("impute absent.h5 tensor -o again", "absent.h5 does not exist"),
        ("impute m.h5 absent -o imputed", "absent is not a directory"),
        # Outputs of an earlier run are no reason to think of swapping.
        ("extend absent.h5 tensor truth.tsv -o m.h5", "absent.h5 does not exist"),
        ("evaluate imputed absent.tsv -o truth.tsv", "cannot read absent.tsv"),
        ("network filter absent -o net --top 3", "absent does not exist"),
        # It may be an export of an earlier run.
        ("export absent tracks.tsv", "absent"),
        ("cv absent -o cv", "absent is not a directory"),
        ("ingest absent.tsv tensor --genome genome.chrom.sizes", "cannot read absent.tsv"),
        ("impute tensor s3://bucket/model.h5 -o again", ""),
    ],
)
def test_other_errors_stay_as_they_are(typed, message, folder):
    done = call_predictd(*typed.split(), cwd=folder)
    assert done.returncode == 1 and "swapped" not in done.stderr
    assert done.stderr.startswith(f"predictd: error: {message}")


@pytest.mark.parametrize(("name", "command"), every_command().items())
def test_every_path_is_known(name, command):
    """Where two paths are given, each place says what belongs there."""
    paths = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Argument) and isinstance(parameter.type, PathOrUrl)
    ]
    output = any(
        isinstance(parameter, click.Option) and parameter.name == "output" for parameter in command.params
    )
    if len(paths) + output > 1:
        assert set(paths) <= {*LOOKS, "output"}
