"""Transforms of exported signal: Parquet and AnnData say them when they are ingested again, text does not."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from made_matrices import PAIRS, made_matrix, write_sizes
from predictd.engine import Engine
from predictd.errors import TableError
from predictd.io.tensor.store import Tensor
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tracks.export import Selection, export
from refusals import refused

pytest.importorskip("anndata")
pytest.importorskip("pandas")
parquet = pytest.importorskip("pyarrow.parquet")

GIVEN = ("none", "A1=log1p", "A2=arcsinh")
USED = ["none", "log1p", "arcsinh", "none"] * 5


@pytest.fixture
def make(tmp_path: Path, engine: Engine):
    """A tensor of a file, or of positive signal, which all these transforms take."""

    def made(source: Path | None, name: str, *transform: str) -> Tensor:
        options = IngestOptions(write_sizes(tmp_path), transform=transform)
        return ingest(source or made_matrix(), tmp_path / name, options, engine)

    return made


def transforms(tensor: Tensor) -> list[str]:
    return [entry.transform for entry in tensor.manifest.experiments]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "does not say the transforms" in message]


@pytest.mark.parametrize("name", ["s.parquet", "s.h5ad"])
def test_files_that_say_them(name, make, tmp_path, caplog):
    tensor = make(None, "tensor", *GIVEN)
    with caplog.at_level(logging.WARNING):
        export(tensor.path, tmp_path / name)
    assert said(caplog) == []
    again = make(tmp_path / name, "again")
    assert transforms(again) == USED
    assert again.manifest.checksum == tensor.manifest.checksum
    # What the user says counts more.
    assert transforms(make(tmp_path / name, "one", "A1=none")) == ["none", "none", "arcsinh", "none"] * 5
    every = make(tmp_path / name, "every", "arcsinh", "A3=log1p")
    assert transforms(every) == ["arcsinh", "arcsinh", "arcsinh", "log1p"] * 5


@pytest.mark.parametrize("name", ["s.tsv", "s.tsv.gz"])
def test_text_does_not_say_them(name, make, tmp_path, caplog):
    tensor = make(None, "tensor", *GIVEN)
    with caplog.at_level(logging.WARNING):
        export(tensor.path, tmp_path / name)
    assert said(caplog) == [
        f"{tmp_path / name} does not say the transforms that are not arcsinh (A0=none, A1=log1p, A3=none): name them "
        "when you ingest the file again, or export to .parquet or .h5ad, which say them"
    ]
    again = make(tmp_path / name, "again", *GIVEN)
    assert again.manifest.checksum == tensor.manifest.checksum


def test_text_of_arcsinh_alone(make, tmp_path, caplog):
    tensor = make(None, "tensor")
    with caplog.at_level(logging.WARNING):
        export(tensor.path, tmp_path / "s.tsv")
    assert said(caplog) == []
    # Other tools take the first line for the header.
    first = (tmp_path / "s.tsv").read_text().splitlines()[0]
    assert first.split("\t") == ["chrom", "start", "end", *map(str, PAIRS)]
    assert make(tmp_path / "s.tsv", "again").manifest.checksum == tensor.manifest.checksum


def test_columns_that_came_and_went(make, tmp_path):
    """Arrow keeps what a file says when columns are dropped or added."""
    export(make(None, "tensor", "none").path, tmp_path / "s.parquet", Selection(pairs="C0:A0,C0:A1"))
    whole = parquet.read_table(tmp_path / "s.parquet")
    assert json.loads(whole.schema.metadata[b"predictd_transforms"]) == {"A0": "none", "A1": "none"}
    part = whole.drop_columns(["C0:A1"]).append_column("C0:new", whole["C0:A0"])
    parquet.write_table(part, tmp_path / "part.parquet")
    assert transforms(make(tmp_path / "part.parquet", "again")) == ["none", "arcsinh"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"A0": "sqrt"}', "unknown transform 'sqrt' of C0:A0"),
        ("[1", "it is damaged"),
        ("[1]", "it is damaged"),
    ],
)
def test_what_is_no_transform(text, told, make, tmp_path):
    export(make(None, "tensor").path, tmp_path / "s.parquet")
    table = parquet.read_table(tmp_path / "s.parquet")
    parquet.write_table(table.replace_schema_metadata({"predictd_transforms": text}), tmp_path / "x.parquet")
    with refused(TableError, "x.parquet", told):
        make(tmp_path / "x.parquet", "no")
