"""Track hubs: what UCSC reads, the files beside it, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyBigWig
import pytest

from commands import call_predictd
from predictd.errors import DataError, OutputError, TrackError
from predictd.io.files import sha256_of
from predictd.io.tables import read_tracks
from predictd.io.tracks.trackhub import Hub, HubTrack, Names, hub_stanzas, hub_text
from predictd.pairs import Experiment
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tracks import hub as hubs
from predictd.workflows.tracks.hub import HubOptions, make_hub
from refusals import refused

param_dict = pytest.importorskip("trackhub.constants").param_dict

HUB = Hub("my hub", "My hub", "me@example.org", "hg19")
# UCSC's own, of hubs in one file and of composites; the parser of tracks does not list them.
OF_HUBS = {"hub", "useOneFile", "email", "genome", "shortLabel", "longLabel"}
OF_COMPOSITES = {"subGroup1", "subGroup2"}


def parsed(text: str) -> list[dict[str, str]]:
    """Stanzas of a hub's file: lines of a key and a value, blank lines between."""
    stanzas = []
    for block in text.split("\n\n"):
        pairs = [line.split(" ", 1) for line in block.splitlines()]
        stanzas.append(dict(pairs))
        assert len(stanzas[-1]) == len(pairs)
    return stanzas


def check_tracks(stanzas: list[dict[str, str]]) -> None:
    """Hold every setting against UCSC's definitions, and every reference against what it refers to."""
    names = [stanza["track"] for stanza in stanzas]
    assert len({name.lower() for name in names}) == len(names)
    composites = {stanza["track"]: stanza for stanza in stanzas if "compositeTrack" in stanza}
    for stanza in stanzas:
        assert (
            stanza["track"].replace("_", "").isalnum()
            and stanza["track"].isascii()
            and stanza["track"][0].isalpha()
        )
        for key, value in stanza.items():
            if key not in OF_COMPOSITES:
                assert param_dict[key].validate(value), (key, value)
        if stanza["track"] in composites:
            continue
        top = composites[stanza["parent"].split()[0]]
        chosen = dict(member.split("=") for member in stanza["subGroups"].split())
        for group in ("subGroup1", "subGroup2"):
            tag, _, *members = top[group].split()
            assert chosen[tag] in {member.split("=")[0] for member in members}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Imputed tracks with names that need care, of which one has a deviation."""
    folder = tmp_path_factory.mktemp("imputed")
    source = read_tracks(data / "tracks.tsv")[0].path
    rows = ["cell_type\tassay\tpath\tsd_path"]
    for index, (cell, assay) in enumerate(
        (("K562", "H3K4me3"), ("k562", "H3K4me3"), ("été, 4 h", "DNase seq"))
    ):
        shutil.copyfile(source, folder / f"{index}.bw")
        rows.append(f"{cell}\t{assay}\t{index}.bw\t{'sd.bw' * (index == 0)}")
    shutil.copyfile(source, folder / "sd.bw")
    (folder / "tracks.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_a_composite_a_cell_type_and_settings_that_ucsc_knows(tracks, data, tmp_path):
    options = HubOptions(genome="mine", name="a hub", email="me@example.org")
    report = make_hub(tracks, tmp_path / "hub", options, observed=data / "tracks.tsv")
    assert (report.imputed, report.sd, report.observed, report.genome) == (3, 1, 18, "mine")
    text = (tmp_path / "hub" / "hub.txt").read_text(encoding="utf-8")
    hub, genome, *stanzas = parsed(text)
    assert hub == {
        "hub": "a_hub",
        "shortLabel": "a hub",
        "longLabel": "a hub",
        "useOneFile": "on",
        "email": "me@example.org",
    }
    assert genome == {"genome": "mine"}
    check_tracks(stanzas)
    composites = [stanza for stanza in stanzas if "compositeTrack" in stanza]
    assert [stanza["shortLabel"] for stanza in composites] == [
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "C6",
        "K562",
        "k562",
        "été, 4 h",
    ]
    assert [stanza["visibility"] for stanza in composites] == ["full"] * 2 + ["hide"] * 7
    signals = [stanza for stanza in stanzas if "bigDataUrl" in stanza]
    assert len(signals) == 22
    by_kind = {stanza["track"]: stanza for stanza in signals if stanza["parent"].startswith("cell_K562 ")}
    assert list(by_kind) == ["K562_H3K4me3_imputed", "K562_H3K4me3_sd"]
    assert by_kind["K562_H3K4me3_imputed"]["color"] == "215,25,28"
    # Every address is that of a whole file, with the signal that it stands for.
    for stanza in signals:
        with pyBigWig.open(str(tmp_path / "hub" / stanza["bigDataUrl"])) as file:
            assert file.header()["nBasesCovered"] > 0
    observed = {track.experiment: track.path for track in read_tracks(data / "tracks.tsv")}
    first = next(stanza for stanza in signals if stanza["longLabel"].endswith("observed"))
    pair = Experiment(*first["longLabel"].split(":")[0].split())
    assert (tmp_path / "hub" / first["bigDataUrl"]).read_bytes() == Path(observed[pair]).read_bytes()


def test_what_is_recorded(tracks, data, tmp_path):
    table = data / "tracks.tsv"
    make_hub(tracks, tmp_path / "hub", HubOptions(genome="mine"), observed=table)
    run = json.loads((tmp_path / "hub" / "run.json").read_text())
    assert run["settings"].pop("observed") == str(table)
    assert run["settings"] == vars(HubOptions(genome="mine"))
    files = [*sorted(tracks.glob("*.bw")), *(Path(track.path) for track in read_tracks(table))]
    assert len(files) == 22
    states = (path.stat() for path in files)
    assert run["inputs"] == {
        str(tracks): sha256_of(tracks / "tracks.tsv"),
        str(table): sha256_of(table),
        **{
            str(path): f"bytes {state.st_size}, modified {state.st_mtime_ns}"
            for path, state in zip(files, states, strict=True)
        },
    }


def test_links_or_copies(tracks, tmp_path):
    for name, files in (("linked", "link"), ("copied", "copy")):
        make_hub(tracks, tmp_path / name, HubOptions(genome="mine", files=files))
    same = [
        (tmp_path / name / "imputed" / "K562_H3K4me3.bw").samefile(tracks / "0.bw")
        for name in ("linked", "copied")
    ]
    assert same == [True, False]
    assert (tmp_path / "linked" / "hub.txt").read_bytes() == (tmp_path / "copied" / "hub.txt").read_bytes()


def test_labels_are_cut_and_names_are_told_apart():
    long = "x" * 200
    tracks = [HubTrack(Experiment(long, f"{long}{i}"), "imputed", f"{i}.bw", (1, 2, 3)) for i in range(3)]
    stanzas = hub_stanzas(HUB, tracks)[2:]
    check_tracks(stanzas)
    assert parsed(hub_text(HUB, tracks))[2:] == stanzas
    names = Names()
    assert [names.new(name) for name in ("a-b", "A b", "a_b", "3", "é", "α")] == [
        "a_b",
        "A_b_2",
        "a_b_3",
        "n3",
        "n",
        "n_2",
    ]


def test_urls_stay_where_they_are(tmp_path, data):
    table = tmp_path / "o.tsv"
    table.write_text("cell_type\tassay\tpath\nC1\tA1\thttps://example.org/x.bw\n")
    make_hub(data, tmp_path / "hub", HubOptions(genome="mine"), observed=table)
    text = (tmp_path / "hub" / "hub.txt").read_text()
    assert "bigDataUrl https://example.org/x.bw\n" in text and not (tmp_path / "hub" / "observed").exists()


@pytest.mark.parametrize("files", ["link", "copy"])
def test_going_on_with_the_same_tracks_only(tracks, data, tmp_path, monkeypatch, files):
    """A track that was made anew meanwhile would be in the hub as it was before."""
    folder, table = tmp_path / "imputed", tmp_path / "o.tsv"
    shutil.copytree(tracks, folder)
    table.write_text("cell_type\tassay\tpath\nC1\tA1\thttps://example.org/x.bw?token=x\n")

    def make(output: str, *, stopped: bool = False) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            if stopped:
                patch.setattr(hubs, "write_text", stop)
            make_hub(folder, tmp_path / output, HubOptions(genome="mine", files=files), observed=table)

    for output in ("one", "two", "three"):
        with pytest.raises(KeyboardInterrupt):
            make(output, stopped=True)
        assert (tmp_path / output / "imputed" / "K562_H3K4me3.bw").exists()
    make("one")
    assert "https://example.org/x.bw" in (tmp_path / "one" / "hub.txt").read_text()
    other = Path(read_tracks(data / "tracks.tsv")[1].path)
    for output, name in (("two", "0.bw"), ("three", "sd.bw")):
        shutil.copyfile(other, folder / "new.bw")
        (folder / "new.bw").replace(folder / name)
        with refused(OutputError, "holds an unfinished job that was begun differently", "tracks"):
            make(output)
        shutil.rmtree(tmp_path / output)
        make(output)
    for kind, source in (("imputed", "0.bw"), ("sd", "sd.bw")):
        written = tmp_path / "three" / kind / "K562_H3K4me3.bw"
        assert written.read_bytes() == (folder / source).read_bytes() == other.read_bytes()


def test_what_is_refused(tracks, tmp_path):
    with refused(DataError, "does not say what genome", "`genome`"):
        make_hub(tracks, tmp_path / "hub", HubOptions())
    with refused(TrackError, "0.bw: hg38 gives chr1 248,956,422 bp", "of another genome?"):
        make_hub(tracks, tmp_path / "hub", HubOptions(genome="hg38"))
    assert not (tmp_path / "hub").exists()
    make_hub(tracks, tmp_path / "hub", HubOptions(genome="mine"))
    with refused(OutputError, "holds hub.txt already"):
        make_hub(tracks, tmp_path / "hub", HubOptions(genome="mine"))


def test_the_command_line_on_imputed_tracks(model_path, tensor_path, engine, tmp_path):
    impute(model_path, tensor_path, tmp_path / "i", engine, pairs="C1:A1,C2:A2")
    done = call_predictd("hub", "i", "-o", "h", "--name", "try", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # The genome is the one that the tracks were imputed on.
    assert done.stdout == "h/hub.txt: 2 imputed tracks, 0 standard deviations, 0 observed tracks on genome\n"
    assert "is 'genome' an assembly that UCSC knows?" in done.stderr
    assert parsed((tmp_path / "h" / "hub.txt").read_text())[1] == {"genome": "genome"}
