"""Peaks and binarised signal of tracks that leave zeros out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyBigWig
import pytest

import predictd
from commands import call_predictd
from predictd.errors import ConfigError, OutputError
from predictd.model.peaks import PeakRule
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tracks.binarise import Binarisation
from predictd.workflows.tracks.export import export
from predictd.workflows.tracks.peaks import PeakCalling
from read_tables import fields_of
from refusals import refused


class TestUncovered:
    """A file that leaves zeros out: signal of 5, then single bases of 50 and of 5 in bins of 25 bp, then nothing."""

    @pytest.fixture
    def sparse(self, tmp_path) -> Path:
        lone = np.arange(300, 700, 25)
        with pyBigWig.open(str(tmp_path / "a.bw"), "w") as file:
            file.addHeader([("chr1", 1000)])
            starts, ends = [100, *lone.tolist()], [300, *(lone + 1).tolist()]
            file.addEntries(["chr1"] * 17, starts, ends=ends, values=[5.0] + [50.0] * 8 + [5.0] * 8)
        with pyBigWig.open(str(tmp_path / "b.bw"), "w") as file:
            file.addHeader([("chr1", 1000), ("chr2", 400)])
            file.addEntries(["chr2"], [0], ends=[200], values=[5.0])
        table = tmp_path / "tracks.tsv"
        table.write_text("cell_type\tassay\tpath\nA\tm\ta.bw\nB\tm\tb.bw\nB\tn\tb.bw\n")
        return table

    # Missing: bins of 5, of 50 and of 5. Zero: bins of 5, of 50 / 25 and of 5 / 25. The middle one of the highest bins
    # is the summit.
    PEAKS: ClassVar = {
        "missing": ["chr1", "100", "700", "peak1", "500", ".", "20", "50", "-1", "287"],
        "zero": ["chr1", "100", "500", "peak1", "50", ".", "3.5", "5", "-1", "87"],
    }
    # Of bins of 200 bp. Missing: 5, 700 / 104, 220 / 8, 5. Zero: 2.5, 3.5, 1.1, 0.1.
    STATES: ClassVar = {"missing": ["1", "1", "1", "1", "2"], "zero": ["1", "1", "0", "0", "0"]}

    @pytest.mark.parametrize("rule", ["missing", "zero"])
    def test_peaks(self, sparse, engine, tmp_path, rule):
        PeakCalling(sparse, tmp_path / "p", PeakRule(), uncovered=rule).make_all(engine)
        assert fields_of(tmp_path / "p/A-m.narrowPeak.gz") == [self.PEAKS[rule]]
        assert json.loads((tmp_path / "p/run.json").read_text())["settings"]["uncovered"] == rule
        frame = predictd.peaks(sparse.parent / "a.bw", uncovered=rule, engine=engine)
        assert frame[["start", "end"]].values.tolist() == [list(map(int, self.PEAKS[rule][1:3]))]

    @pytest.mark.parametrize("rule", ["missing", "zero"])
    def test_binarised(self, sparse, engine, tmp_path, rule):
        Binarisation(sparse, tmp_path / "b", uncovered=rule).make_all(engine)

        def states(name: str) -> list[str]:
            return (tmp_path / "b" / f"{name}_binary.txt").read_text().splitlines()[2:]

        # A pair that has no track is missing whatever gaps mean.
        assert states("A_chr1") == [f"{state}\t2" for state in self.STATES[rule]]
        # Nor has the first track the second chromosome.
        nothing = {"missing": "2", "zero": "0"}[rule]
        assert states("A_chr2") == [f"{nothing}\t2"] * 2
        assert states("B_chr2") == ["1\t1", f"{nothing}\t{nothing}"]
        missing = {"missing": ["3", "7"], "zero": ["0", "7"]}[rule]
        assert [row[3] for row in fields_of(tmp_path / "b/binarised.tsv")[1:3]] == missing
        assert json.loads((tmp_path / "b/run.json").read_text())["settings"]["uncovered"] == rule

    def test_the_command_line(self, sparse, engine, tmp_path):
        for name in ("peaks", "binarise"):
            done = call_predictd(name, "tracks.tsv", "-o", name, "--uncovered", "zero", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        assert fields_of(tmp_path / "peaks/A-m.narrowPeak.gz") == [self.PEAKS["zero"]]
        states = (tmp_path / "binarise/A_chr1_binary.txt").read_text().splitlines()[2:]
        assert states == [f"{state}\t2" for state in self.STATES["zero"]]
        # By default gaps are missing.
        assert call_predictd("peaks", "tracks.tsv", "-o", "default", cwd=tmp_path).returncode == 0
        assert fields_of(tmp_path / "default/A-m.narrowPeak.gz") == [self.PEAKS["missing"]]
        with refused(OutputError, "settings.uncovered: missing, now zero"):
            PeakCalling(sparse, tmp_path / "default", PeakRule(), uncovered="zero").make_all(engine)
        with refused(ConfigError, "`uncovered` 'none': give 'missing' or 'zero'"):
            predictd.peaks(sparse, uncovered="none", engine=engine)

    def test_tracks_of_a_tensor_have_their_zeros(self, sparse, engine, tmp_path):
        """Where the tensor has no bin, nothing is known, whatever gaps of the ingested tracks meant."""
        (tmp_path / "sizes").write_text("chr1\t1000\n")
        (tmp_path / "r.bed").write_text("chr1\t200\t800\n")
        (tmp_path / "one.tsv").write_text("cell_type\tassay\tpath\nA\tm\ta.bw\n")
        options = IngestOptions(
            genome=str(tmp_path / "sizes"), regions=tmp_path / "r.bed", uncovered="zero", dtype="float32"
        )
        tensor = ingest(tmp_path / "one.tsv", tmp_path / "t", options, engine)
        export(tensor.path, tmp_path / "exported")
        Binarisation(tmp_path / "exported", tmp_path / "b").make_all(engine)
        # In the bins of 25 bp there is 5, 2, 0.2 and, from 700 bp on, a zero that is written.
        states = (tmp_path / "b/A_chr1_binary.txt").read_text().splitlines()[2:]
        assert states == ["2", "1", "0", "0", "2"]
        PeakCalling(tmp_path / "exported", tmp_path / "p", PeakRule(min_length=100)).make_all(engine)
        assert [row[1:3] for row in fields_of(tmp_path / "p/A-m.narrowPeak.gz")] == [["200", "500"]]
