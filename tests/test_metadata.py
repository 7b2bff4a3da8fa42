"""Tables that come with downloads: ENCODE's metadata.tsv, Roadmap's list of epigenomes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commands import call_predictd
from made_metadata import PVAL, row, write
from predictd.errors import TableError
from predictd.io.tables import read_tracks, unique_pairs
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.metadata import read_track_table
from refusals import refused


class TestEncode:
    def test_rows_become_tracks(self, tmp_path):
        (tmp_path / "ENCFF000AAA.bigWig").touch()
        path = write(
            tmp_path,
            row("ENCFF000AAA"),
            row("ENCFF000AAB", Assay="DNase-seq", Experiment_target="", Biosample_term_name="H1"),
            row("ENCFF000AAC", Assay="TF ChIP-seq", Experiment_target="CTCF-human"),
            row("ENCFF000AAD", Assay="CUT&RUN", Experiment_target="CTCF-human"),
            row(
                "ENCFF000AAE",
                Biosample_term_name="A549",
                Biosample_treatments="dexamethasone",
                Biosample_treatments_amount="100 nM",
                Biosample_treatments_duration="4 hour",
            ),
            row("ENCFF000AAF", Biosample_genetic_modifications_categories="deletion"),
            row("ENCFF000AAG", Experiment_target="H2A.Z-mouse", Biosample_term_name="a:b  c"),
        )
        tracks = read_track_table(path, genome="hg38")
        assert [tuple(track.experiment) for track in tracks] == [
            ("K562", "H3K4me3"),
            ("H1", "DNase-seq"),
            ("K562", "CTCF"),
            ("K562", "CUT&RUN CTCF"),
            ("A549, dexamethasone 100 nM 4 hour", "H3K4me3"),
            ("K562, deletion", "H3K4me3"),
            ("a b c", "H2A.Z"),
        ]
        assert tracks[0].path == str(tmp_path / "ENCFF000AAA.bigWig")
        assert tracks[1].path.endswith("/ENCFF000AAB.bigWig") and tracks[1].is_url
        assert tracks[2].where == f"{path}, line 4 (ENCFF000AAC)"
        assert {track.transform for track in tracks} == {"arcsinh"}

    def test_a_table_that_r_has_quoted(self, tmp_path):
        path = write(tmp_path, row("ENCFF000AAA", Biosample_term_name="K562, 5' end"), row("ENCFF000AAB"))
        plain = read_track_table(path, genome="hg38")
        quoted = [
            "\t".join(f'"{field}"' for field in line.split("\t")) for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(quoted) + "\n")
        assert read_track_table(path, genome="hg38") == plain
        assert plain[0].experiment == ("K562, 5' end", "H3K4me3")

    def test_what_is_no_such_signal_is_left_out(self, tmp_path):
        path = write(
            tmp_path,
            row("ENCFF000AAA"),
            row("ENCFF000AAB", Output_type="fold change over control"),
            row(
                "ENCFF000AAC",
                File_format="bed narrowPeak",
                Output_type="replicated peaks",
                File_assembly="hg19",
            ),
            row("ENCFF000AAD", File_Status="archived"),
        )
        assert [Path(track.path).stem for track in read_track_table(path)] == ["ENCFF000AAA"]
        others = read_track_table(path, output_type="fold change over control")
        assert [Path(track.path).stem for track in others] == ["ENCFF000AAB"]
        with refused(
            TableError, "no released bigWig of output type 'x'", f"fold change over control, {PVAL}"
        ):
            read_track_table(path, output_type="x")

    def test_several_output_types_are_taken_together(self, tmp_path):
        replicates = "Biological replicate(s)"
        dnase = {"Assay": "DNase-seq", "Experiment_target": "", "Output_type": "read-depth normalized signal"}
        path = write(
            tmp_path,
            row("ENCFF000AAA"),
            row("ENCFF000AAB", **dnase, **{replicates: "1"}),
            row("ENCFF000AAC", Output_type="fold change over control"),
            row("ENCFF000AAD", Experiment_accession="ENCSR9", **{replicates: "1, 2, 3"}),
            row("ENCFF000AAE", Experiment_accession="ENCSR9", **dnase, **{replicates: "1"}),
        )
        tracks = read_track_table(path, output_type=(PVAL, dnase["Output_type"], PVAL))
        assert [Path(track.path).stem[-3:] for track in tracks] == ["AAA", "AAB", "AAD", "AAE"]
        with refused(TableError, "no released bigWig of output type 'plus strand signal'", "choose", PVAL):
            read_track_table(path, output_type=(PVAL, "plus strand signal"))

    def test_of_an_experiment_the_pooled_file_is_taken(self, tmp_path):
        same = {"Experiment_accession": "ENCSR1"}
        path = write(
            tmp_path,
            row("ENCFF000AAA", **same, **{"Biological replicate(s)": "1"}),
            row("ENCFF000AAB", **same, **{"Biological replicate(s)": "1, 2"}),
            row("ENCFF000AAC", **same, **{"Biological replicate(s)": "2"}),
        )
        assert [Path(track.path).stem for track in read_track_table(path)] == ["ENCFF000AAB"]

    def test_duplicates_are_told_with_their_accessions(self, tmp_path):
        path = write(tmp_path, row("ENCFF000AAA"), row("ENCFF000AAB"))
        with refused(
            TableError,
            "line 3 (ENCFF000AAB): K562:H3K4me3 is in",
            "first in line 2 (ENCFF000AAA)",
            "`merge` mean",
        ):
            unique_pairs(read_track_table(path), path)

    @pytest.mark.parametrize(
        ("genome", "assemblies", "parts"),
        [
            ("hg38", ["GRCh38", "hg19"], ["files of hg19 (ENCFF000AA1)", "have to be of hg38"]),
            ("hg19", ["GRCh38", "GRCh38"], ["files of GRCh38 (ENCFF000AA0)", "have to be of hg19"]),
            (None, ["GRCh38", "hg19"], ["GRCh38 (ENCFF000AA0), hg19 (ENCFF000AA1)", "of one assembly"]),
            ("mine", ["mm10", "hg19"], ["hg19 (ENCFF000AA1), mm10 (ENCFF000AA0)", "of one assembly"]),
            ("hg38", ["", "GRCh38"], ["no assembly (ENCFF000AA0)"]),
        ],
    )
    def test_other_assemblies_are_refused(self, tmp_path, genome, assemblies, parts):
        cells = [
            row(f"ENCFF000AA{i}", File_assembly=a, Biosample_term_name=f"C{i}")
            for i, a in enumerate(assemblies)
        ]
        with refused(TableError, "metadata.tsv lists", *parts, "keep the rows of that assembly"):
            read_track_table(write(tmp_path, *cells), genome=genome)

    @pytest.mark.parametrize(
        ("genome", "assembly"), [("hg38", "GRCh38"), ("GRCh37", "hg19"), ("mine", "mm10"), (None, "ce11")]
    )
    def test_names_of_one_assembly(self, tmp_path, genome, assembly):
        assert read_track_table(write(tmp_path, row("ENCFF000AAA", File_assembly=assembly)), genome=genome)

    def test_files_that_are_nowhere(self, tmp_path):
        with refused(TableError, "line 2: ENCFF000AAA.bigWig is not next to the table", "download it there"):
            read_track_table(write(tmp_path, row("ENCFF000AAA", File_download_URL="")))

    def test_columns_that_are_missing(self, tmp_path):
        (tmp_path / "m.tsv").write_text("File accession\tFile format\nX\tbigWig\n")
        with refused(TableError, "m.tsv lacks columns", "missing: Output type, File assembly"):
            read_track_table(tmp_path / "m.tsv")

    def test_an_own_table_is_one_still(self, data):
        assert read_track_table(data / "tracks.tsv") == read_tracks(data / "tracks.tsv")


class TestRoadmap:
    @pytest.fixture
    def epigenomes(self, tmp_path: Path) -> Path:
        for name in (
            "E003-H3K4me3.pval",
            "E003-H2A.Z.pval",
            "E003-H3K4me3.fc",
            "E017-DNase.pval",
            "E099-H3K4me1.pval",
        ):
            (tmp_path / f"{name}.signal.bigwig").touch()
        path = tmp_path / "EID_metadata.tab"
        path.write_text(
            "EID\tGROUP\tMNEMONIC\tSTD_NAME\nE003\tESC\tESC.H1\tH1 Cells\nE017\tIMR90\tLNG.IMR90\tIMR90\n"
        )
        return path

    def test_files_of_its_epigenomes_are_tracks(self, epigenomes):
        tracks = read_track_table(epigenomes, genome="hg19")
        assert [tuple(track.experiment) for track in tracks] == [
            ("E003", "H2A.Z"),
            ("E003", "H3K4me3"),
            ("E017", "DNase"),
        ]
        assert tracks[1].path == str(epigenomes.parent / "E003-H3K4me3.pval.signal.bigwig")
        (other,) = read_track_table(epigenomes, output_type="fold change over control")
        assert other.path.endswith("E003-H3K4me3.fc.signal.bigwig")

    def test_what_does_not_fit(self, epigenomes):
        with refused(TableError, "files of hg19 (E003-H2A.Z.pval.signal.bigwig)", "have to be of hg38"):
            read_track_table(epigenomes, genome="hg38")
        with refused(TableError, "which has no 'reads'", "fold change over control"):
            read_track_table(epigenomes, output_type="reads")
        for file in epigenomes.parent.glob("*.bigwig"):
            file.unlink()
        with refused(TableError, "no file EID-ASSAY.pval.signal.bigwig", "download them there"):
            read_track_table(epigenomes)


def test_ingest_takes_downloads_as_they_are(data, tmp_path):
    tracks = read_tracks(data / "tracks.tsv")[:3]
    rows = []
    for index, track in enumerate(tracks):
        accession = f"ENCFF00{index}AAA"
        shutil.copyfile(track.path, tmp_path / f"{accession}.bigWig")
        target = "" if index == 0 else f"{track.experiment.assay}-human"
        rows.append(row(accession, Experiment_target=target, Biosample_term_name=track.experiment.cell_type))
    sizes = tmp_path / "GRCh38.chrom.sizes"
    shutil.copyfile(data / "genome.chrom.sizes", sizes)
    write(tmp_path, *rows)
    done = call_predictd("ingest", "metadata.tsv", "t", "--genome", sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [(track.experiment.cell_type, track.experiment.assay) for track in tracks[1:]]
    expected.append((tracks[0].experiment.cell_type, "Histone ChIP-seq"))
    assert sorted(map(tuple, Tensor(tmp_path / "t").experiments)) == sorted(expected)
    done = call_predictd("ingest", "metadata.tsv", "u", "--genome", "hg19", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "metadata.tsv lists files of GRCh38 (ENCFF000AAA), but all have to be of hg19" in done.stderr
