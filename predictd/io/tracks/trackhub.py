"""UCSC track hubs in one file: a composite track for each cell type, its tracks chosen by assay and kind.

The settings are those of UCSC's "Hub Track Database Definition"; `useOneFile on` puts hub, genome and tracks into
hub.txt, which a hub on a single assembly may do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from predictd.pairs import Experiment
from predictd.wording import one_line

KINDS = {"imputed": "imputed", "sd": "standard deviation of imputed", "observed": "observed"}
# UCSC cuts labels that are longer.
_SHORT, _LONG = 17, 76
# How many composites are shown from the start; the others are chosen on their pages.
_SHOWN = 2

Stanza = dict[str, str]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class HubTrack:
    """One signal of a hub.

    Attributes
    ----------
    experiment
        Its pair.
    kind
        imputed, sd or observed.
    url
        Where the bigWig is, relative to hub.txt.
    colour
        Red, green and blue from 0 to 255.
    """

    experiment: Experiment
    kind: str
    url: str
    colour: Colour


@dataclass(frozen=True)
class Hub:
    """What a hub says of itself: its name and label, an address for questions, UCSC's name of the assembly."""

    name: str
    label: str
    email: str
    genome: str


def hub_text(hub: Hub, tracks: Sequence[HubTrack]) -> str:
    """Contents of hub.txt."""
    return "\n".join(
        "".join(f"{key} {value}\n" for key, value in s.items()) for s in hub_stanzas(hub, tracks)
    )


def hub_stanzas(hub: Hub, tracks: Sequence[HubTrack]) -> list[Stanza]:
    """Stanzas of hub.txt: the hub, its genome, and for each cell type a composite and its tracks."""
    stanzas = [
        {
            "hub": plain_name(hub.name),
            "shortLabel": label(hub.label, _SHORT),
            "longLabel": label(hub.label, _LONG),
            "useOneFile": "on",
            "email": one_line(hub.email),
        },
        {"genome": one_line(hub.genome)},
    ]
    names = Names()
    cells = sorted({track.experiment.cell_type for track in tracks})
    for index, cell in enumerate(cells):
        own = sorted(
            (t for t in tracks if t.experiment.cell_type == cell),
            key=lambda t: (t.experiment, list(KINDS).index(t.kind)),
        )
        stanzas += _composite(cell, own, names, shown=index < _SHOWN)
    return stanzas


def _composite(cell: str, tracks: Sequence[HubTrack], names: Names, *, shown: bool) -> list[Stanza]:
    top = names.new(f"cell_{cell}")
    assays = Names()
    tags = {assay: assays.new(assay) for assay in sorted({track.experiment.assay for track in tracks})}
    kinds = [kind for kind in KINDS if any(track.kind == kind for track in tracks)]
    composite = {
        "track": top,
        "compositeTrack": "on",
        "type": "bigWig",
        "shortLabel": label(cell, _SHORT),
        "longLabel": label(f"{cell}: {', '.join(kinds)} signal", _LONG),
        "subGroup1": f"assay Assay {_members(tags)}",
        "subGroup2": f"kind Kind {_members({kind: kind for kind in kinds})}",
        "dimensions": "dimX=kind dimY=assay",
        "sortOrder": "assay=+ kind=+",
        "visibility": "full" if shown else "hide",
        "autoScale": "group",
        "alwaysZero": "on",
        "maxHeightPixels": "100:32:8",
        "windowingFunction": "mean",
    }
    stanzas = [composite]
    for track in tracks:
        pair = track.experiment
        stanzas.append(
            {
                "track": names.new(f"{pair.cell_type}_{pair.assay}_{track.kind}"),
                "parent": f"{top} on",
                "type": "bigWig",
                "shortLabel": label(f"{pair.assay} {track.kind}", _SHORT),
                "longLabel": label(f"{pair.cell_type} {pair.assay}: {KINDS[track.kind]}", _LONG),
                "bigDataUrl": track.url,
                "subGroups": f"assay={tags[pair.assay]} kind={track.kind}",
                "color": ",".join(map(str, track.colour)),
            }
        )
    return stanzas


def _members(tags: dict[str, str]) -> str:
    """Members of a subgroup as `tag=Title`; titles hold no blanks, which UCSC shows for underscores."""
    return " ".join(f"{tag}={re.sub(r'[ =]', '_', one_line(title))}" for title, tag in tags.items())


class Names:
    """Names of tracks and tags: letters, digits and underscores, each once, whatever the case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, wanted: str) -> str:
        """A name as like the wanted one as can be."""
        stem = plain_name(wanted)
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.lower())
        return name


def plain_name(text: str) -> str:
    """Letters, digits and underscores, the first a letter."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return name if name[:1].isalpha() else f"n{name}"


def label(text: str, longest: int) -> str:
    """One line of at most so many characters."""
    text = one_line(text)
    return text if len(text) <= longest else text[:longest].rstrip()
