"""`predictd hub`: a UCSC track hub of imputed tracks, and of what was observed."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from predictd.errors import DataError, OutputError
from predictd.io.files import cannot_write, copy, exists, make_directory, replacing, state_of, write_text
from predictd.io.names import URL_SCHEMES, without_secrets
from predictd.io.partition import Job
from predictd.io.remote import as_path
from predictd.io.results import write_run_json
from predictd.io.tracks.genomes import BUILT_IN, canonical, load_genome
from predictd.io.tracks.trackhub import KINDS, Hub, HubTrack, Names, hub_text
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, given
from predictd.workflows.tracks.colours import assay_colours, lighter
from predictd.workflows.tracks.listed import ListedTracks, common_chromosomes, inputs_of, open_listed

log = logging.getLogger(__name__)

HUB_TXT = "hub.txt"
# RFC 2606: an address that is nobody's.
NOBODY = "nobody@example.org"


@dataclass(frozen=True)
class HubOptions:
    """What a hub says of itself, and how its files come there; the defaults are the command line's.

    Attributes
    ----------
    genome
        UCSC's name of the assembly; None: as the imputed tracks say.
    name, email
        Of the hub.
    files
        `link`: hard links where the file system allows, else copies; `copy`: copies.
    """

    genome: str | None = None
    name: str = "predictd"
    email: str = NOBODY
    files: Literal["link", "copy"] = "link"


@dataclass(frozen=True)
class HubReport:
    """What a hub has: tracks by kind, and its genome."""

    genome: str
    imputed: int
    sd: int
    observed: int


def make_hub(source: Path, output: Path, options: HubOptions, *, observed: Path | None = None) -> HubReport:
    """Write a hub: hub.txt, and the bigWigs.

    Parameters
    ----------
    source
        Imputed tracks: a directory with tracks.tsv, a track table, or a bigWig.
    output
        Directory of the hub, which can be copied to a web server as it is.
    options
        What it says of itself.
    observed
        Track table, or directory, of observed signal that is to be in it, too.

    Raises
    ------
    PredictdError
        If a track is not there, is not a bigWig or of another genome, or the genome is not known.
    """
    imputed = open_listed(source)
    others = open_listed(observed) if observed is not None else None
    genome = options.genome or imputed.genome
    genome = genome and (canonical(genome) or genome)
    if genome is None:
        raise DataError(
            f"{source} does not say what genome its tracks are on; name UCSC's assembly as `genome`"
        )
    if exists(output / HUB_TXT):
        raise OutputError(f"{output} holds {HUB_TXT} already; remove the directory, or name another")
    wanted = _wanted(imputed, others)
    described = [_described(*one) for one in wanted]
    record = RunRecord("hub", settings=vars(options) | given(observed=observed))
    record.inputs = inputs_of(source, described)
    if observed is not None:
        record.inputs |= inputs_of(observed, ())
    with record.stage("read headers"):
        local = [place for _, _, place in wanted if not place.startswith(URL_SCHEMES)]
        common_chromosomes(local, load_genome(genome) if genome in BUILT_IN else None)
    if genome not in BUILT_IN:
        log.warning("is '%s' an assembly that UCSC knows? if not, name it as `genome`", genome)
    colours = assay_colours(pair.assay for pair, _, _ in wanted)
    make_directory(output)
    job = Job(output, {"command": "hub", "tracks": described})
    job.begin()
    tracks = []
    with record.stage("files"):
        names = {kind: Names() for kind in KINDS}
        for pair, kind, place in wanted:
            url = place
            # What is on a web server already stays there.
            if not place.startswith(URL_SCHEMES):
                url = f"{kind}/{names[kind].new('_'.join(pair))}.bw"
                _bring(as_path(place), output / url, options.files)
            colour = colours[pair.assay] if kind == "imputed" else lighter(colours[pair.assay])
            tracks.append(HubTrack(pair, kind, url, colour))
    counts = {kind: sum(track.kind == kind for track in tracks) for kind in KINDS}
    record.results = {"genome": genome, **counts}
    write_run_json(record, output)
    write_text(output / HUB_TXT, hub_text(Hub(options.name, options.name, options.email, genome), tracks))
    job.finish()
    return HubReport(genome, **counts)


def _wanted(imputed: ListedTracks, observed: ListedTracks | None) -> list[tuple[Experiment, str, str]]:
    """Pair, kind and place of each signal."""
    wanted = [(pair, "imputed", track.path) for pair, track in imputed.tracks.items()]
    wanted += [(pair, "sd", path) for pair, path in imputed.sds.items()]
    if observed is not None:
        wanted += [(pair, "observed", track.path) for pair, track in observed.tracks.items()]
    return wanted


def _described(pair: Experiment, kind: str, place: str) -> dict[str, Any]:
    """What the hub depends on of a signal: also the state of its file, which is copied."""
    state = {} if place.startswith(URL_SCHEMES) else state_of(as_path(place))
    return {"pair": str(pair), "kind": kind, "path": without_secrets(place), **state}


def _bring(source: Path, target: Path, files: Literal["link", "copy"]) -> None:
    """Have a file in the hub, unless it is there."""
    if exists(target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise cannot_write(target.parent, err) from err
    if files == "link":
        # There is no link across file systems (OSError), and none to or from an object (TypeError).
        with suppress(OSError, TypeError):
            os.link(source.resolve(), target)
            return
    with replacing(target) as partial:
        copy(source, partial)
