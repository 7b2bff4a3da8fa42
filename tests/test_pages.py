"""Every command that the pages print is run, or at least read by what it is for.

A page's blocks are run in their order by the shell that they name, as they are printed, in a folder that has the files
which they name. What cannot run here is in `CHECKED`, with the reason, and is handed with all its words to something
that knows its options. Other tests run blocks on services of their own; see `ELSEWHERE`.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

import page_programs
from commands import call_predictd
from desk import QUICK, Desk, cheaper, quickened
from example_folder import make_examples
from made_metadata import row, write
from pages import PAGES, SHELLS, blocks, in_prose, name_of, scripts
from places import ROOT
from predictd.engine import Engine
from predictd.io.tables import read_tracks, write_tracks
from predictd.pairs import Experiment
from predictd.workflows.tensor.simulate import SimulationOptions, simulate

# Blocks of other kinds; a directive of the site begins with a brace.
OTHER = ("python", "text", "toml")
# Pages that other tests run, on services of their own.
ELSEWHERE = {
    "docs/batch.md": "test_arrays",
    "docs/dataproc.md": "test_spark_clouds",
    "docs/emr-serverless.md": "test_spark_clouds",
    "docs/emr.md": "test_emr",
    "docs/hdinsight.md": "test_hdinsight",
    "docs/kubernetes.md": "test_arrays",
    "docs/mpi.md": "test_slurm",
    "docs/sagemaker.md": "test_sagemaker",
    "docs/spark.md": "test_spark_submit",
    "docs/stores.md": "test_remote",
    "slurm/README.md": "test_slurm",
}
HERE = {
    name_of(page): page for page in PAGES if blocks(page, "bash", "sh") and name_of(page) not in ELSEWHERE
}
# Places that are no test's to write to.
PLACES = {"docs/parallelcluster.md": {"/shared/": "{}/shared/"}}
# What a page takes for made already, by earlier pages.
MADE = {
    "tensor": "predictd ingest tracks.tsv tensor --genome hg19",
    "cv": "predictd cv tensor -o cv",
    "model.h5": "predictd train tensor -o model.h5 --solver als",
    "imputed": "predictd impute cv tensor -o imputed",
    "net": "predictd network infer expression.tsv.gz -o net --regulators factors.txt",
}
NEEDS = {
    "docs/accuracy.md": ["tensor"],
    "docs/evaluation.md": ["tensor", "imputed"],
    "docs/extend.md": ["tensor", "model.h5"],
    "docs/formats.md": ["tensor"],
    "docs/method.md": ["tensor"],
    "docs/peaks.md": ["imputed"],
    "docs/plan.md": ["tensor", "cv", "imputed"],
    "docs/qc.md": ["tensor"],
    "docs/recommend.md": ["tensor"],
    "docs/report.md": ["tensor", "cv", "imputed"],
    "docs/uncertainty.md": ["tensor"],
    "docs/network.md": ["tensor", "model.h5"],
    "docs/view.md": ["imputed"],
}


def test_every_block_says_its_language():
    known = (*SHELLS, *OTHER)
    found = {
        f"{name_of(page)}:{block.line}"
        for page in PAGES
        for block in blocks(page)
        if block.language not in known and not block.language.startswith("{")
    }
    assert found == set()


@pytest.mark.parametrize(("name", "module"), ELSEWHERE.items())
def test_what_runs_elsewhere_is_read_from_its_page(name, module):
    assert f'"{name}"' in (ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A folder with what the pages name, and what their first commands make."""
    folder = tmp_path_factory.mktemp("made")
    make_examples(folder, engine)
    make_more(folder)
    page_programs.lay_out(folder)
    (folder / "shared" / "predictd").mkdir(parents=True)
    (folder / "shared" / "predictd" / "predictd-site.sh").touch()
    with quickened():
        for command in MADE.values():
            words = shlex.split(command)[1:]
            done = call_predictd(*words, *cheaper(words), cwd=folder)
            assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "imputed", folder / "ours")
    # Of the job that is only read.
    shutil.copytree(folder / "tensor", folder / "shared" / "T")
    return folder


def make_more(folder: Path) -> None:
    """What only pages name."""
    (folder / "quick.toml").write_text(QUICK)
    shutil.copyfile(folder / "signal-in-peaks.tsv.gz", folder / "peaks.tsv.gz")
    for name in ("theirs", "third"):
        shutil.copytree(folder / "other-tool", folder / name)
    for name in ("genes", "enhancers", "tss", "peaks"):
        shutil.copyfile(folder / "promoters.bed", folder / f"{name}.bed")
    # A table of UCSC with one gene of two exons.
    gene = "585 T1 chr1 + 1000000 1000400 1000150 1000350 2 1000000,1000300, 1000200,1000400, 0 ABC cmpl cmpl 0,1,"
    (folder / "ncbiRefSeqCurated.txt.gz").write_bytes(gzip.compress(gene.replace(" ", "\t").encode()))
    shutil.copyfile(folder / "pairs.tsv", folder / "experiments.tsv")
    tracks = {track.experiment: track.path for track in read_tracks(folder / "tracks.tsv")}
    new = {Experiment("NEW", "H3K4me3"): tracks[Experiment("E003", "H3K4me3")]}
    write_tracks(folder / "new.tsv", new)
    write_tracks(folder / "all.tsv", tracks | new)
    with gzip.open(folder / "expression.tsv.gz", "rt") as table:
        (_, *cells), *rows = (line.rstrip("\n").split("\t") for line in table)
    with h5py.File(folder / "cells.loom", "w") as file:
        file["matrix"] = np.array([row[1:] for row in rows], float)
        file["row_attrs/Gene"], file["col_attrs/CellID"] = [row[0] for row in rows], cells


@pytest.fixture
def folder(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A page's own folder, with what it takes for made."""
    left_out = set(MADE) - set(NEEDS.get(request.node.callspec.params["name"], ()))
    path = tmp_path / "work"
    shutil.copytree(
        made,
        path,
        copy_function=os.link,
        ignore=lambda place, names: left_out if Path(place) == made else (),
    )
    return path


@pytest.fixture
def portal(folder: Path, tmp_path: Path, engine: Engine) -> Iterator[None]:
    """A server with files of ENCODE's kind, which `files.txt` lists."""
    options = SimulationOptions(genome="hg38", pairs=folder / "pairs.tsv", regions=folder / "regions.bed")
    simulate(tmp_path / "encode", options.simulation(), options.place(), engine)
    rows = []
    for index, track in enumerate(read_tracks(tmp_path / "encode" / "tracks.tsv")):
        accession = f"ENCFF{index:03}AAA"
        Path(track.path).rename(tmp_path / "encode" / f"{accession}.bigWig")
        cell_type, assay = track.experiment
        rows.append(row(accession, Experiment_target=f"{assay}-human", Biosample_term_name=cell_type))
    write(tmp_path / "encode", *rows)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "encode")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        files = ["metadata.tsv", *(f"{one['File accession']}.bigWig" for one in rows)]
        url = f"http://127.0.0.1:{server.server_address[1]}"
        (folder / "files.txt").write_text("".join(f"{url}/{name}\n" for name in files))
        yield
        server.shutdown()
        thread.join()


@pytest.mark.docs
@pytest.mark.parametrize("name", HERE)
def test_commands_run_as_printed(name, folder, tmp_path, request):
    if name == "docs/tutorial.md":
        request.getfixturevalue("portal")
    desk = Desk(tmp_path / "bin", page_programs.CHECKED)
    with quickened():
        for shell, script in scripts(HERE[name]):
            for printed, here in PLACES.get(name, {}).items():
                script = script.replace(printed, here.format(folder))
            desk.run(shell, script, folder)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_commands_in_the_text_have_options_that_exist(page):
    for command in in_prose(page, "predictd"):
        # Any command.
        if command.startswith("predictd COMMAND"):
            continue
        page_programs.parse_predictd(shlex.split(command.partition(" > ")[0])[1:])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_start_files_of_other_shells(shell, tmp_path):
    """test_cli_help reads what is printed for them."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (block,) = blocks(ROOT / "README.md", shell)
    Desk(tmp_path / "bin").run(shell, block.text, tmp_path)
