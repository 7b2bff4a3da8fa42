"""Colours of assays, in hubs and in the viewer: those that the field is used to, and others that differ well."""

from __future__ import annotations

from collections.abc import Iterable

Colour = tuple[int, int, int]

_KNOWN: dict[str, Colour] = {
    "H3K4me3": (215, 25, 28),
    "H3K9ac": (200, 60, 90),
    "H3K27ac": (245, 130, 32),
    "H3K4me1": (214, 160, 0),
    "H3K4me2": (230, 95, 60),
    "H3K36me3": (0, 136, 55),
    "H3K79me2": (60, 160, 120),
    "H3K27me3": (110, 110, 110),
    "H3K9me3": (94, 60, 153),
    "H2A.Z": (140, 86, 75),
    "DNase": (31, 90, 180),
    "DNase-seq": (31, 90, 180),
    "ATAC-seq": (23, 130, 190),
    "CTCF": (0, 70, 70),
}
_OTHERS: tuple[Colour, ...] = (
    (31, 119, 180),
    (197, 90, 17),
    (44, 130, 44),
    (180, 30, 80),
    (120, 80, 170),
    (130, 85, 60),
    (190, 80, 160),
    (90, 90, 30),
    (20, 130, 140),
    (70, 70, 130),
)


def assay_colours(assays: Iterable[str]) -> dict[str, Colour]:
    """Red, green and blue from 0 to 255, by assay."""
    names = sorted(set(assays))
    others = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in names}


def lighter(colour: Colour) -> Colour:
    """The colour half way to white: of what is observed, or of a deviation, next to the imputed."""
    red, green, blue = ((value + 255) // 2 for value in colour)
    return red, green, blue
