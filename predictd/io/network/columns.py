"""Which columns of a table of links hold what: by the names that tools of the field give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from predictd.errors import TableError
from predictd.io.tables import is_number, no_number

# Names in lower case without blanks and marks: of GENIE3, GRNBoost2 and pySCENIC, BEELINE, decoupler, DREAM.
_REGULATOR = (
    *("regulator", "regulatorid", "tf", "tfsymbol", "transcriptionfactor", "regulatorygene", "regulatorgene"),
    *("gene1", "source", "sourceid", "from"),
)
_TARGET = ("target", "targetid", "targetgene", "gene2", "to")
# The target's where no column has one of those names.
_GENE = ("gene", "geneid", "genename", "genesymbol")
_WEIGHT = ("importance", "weight", "edgeweight", "score", "confidence")
_SIGN = ("sign",)
# What a fourth column holds that is the sign, in a list without a header.
_SIGNS = ("+", "-", ".")
# What a gold standard says of links and of what is none.
_TRUE = frozenset(("1", "1.0", "1,0", "true", "yes"))
_FALSE = frozenset(("0", "0.0", "0,0", "false", "no"))
_NAMES = "regulator and target (or TF, Gene1, source; Gene2)"


@dataclass(frozen=True)
class LinkColumns:
    """Places of the columns, counted from 0.

    Attributes
    ----------
    regulator, target
        Of the genes.
    weight
        Of the number; None where the header names none.
    header
        The header's fields; None: there is no header.
    sign
        Of the column `sign`; None where the header names none.
    row_names
        Whether lines begin with the number of the row, which the header does not name.
    """

    regulator: int
    target: int
    weight: int | None
    header: tuple[str, ...] | None
    sign: int | None = None
    row_names: bool = False

    @property
    def width(self) -> int:
        """How many fields a line needs; the sign may be left out."""
        return 1 + max(self.regulator, self.target, self.weight or 0)

    @property
    def most(self) -> int:
        """How many fields a line may have: as the header, or without one those that the format has."""
        return (3 if self.sign is None else 4) if self.header is None else len(self.header) + self.row_names


def named_columns(header: Sequence[str]) -> LinkColumns | None:
    """Columns of a header by their names; None where it does not name both genes."""
    plain = ["".join(letter for letter in name.casefold() if letter.isalnum()) for name in header]

    def place(names: Sequence[str]) -> int | None:
        return next((plain.index(name) for name in names if name in plain), None)

    regulators, targets = ([name for name in plain if name in names] for names in (_REGULATOR, _TARGET))
    # Several columns of one kind: nothing tells which is meant.
    regulator = place(regulators) if len(regulators) == 1 else None
    target = place(_GENE) if not targets else place(targets) if len(targets) == 1 else None
    if regulator is None or target is None:
        return None
    return LinkColumns(regulator, target, place(_WEIGHT), tuple(header), place(_SIGN))


def _beside_row_names(columns: LinkColumns, lines: Sequence[Sequence[str]]) -> LinkColumns:
    """Columns where lines begin with the number of the row, which R's headers do not name."""
    width = len(columns.header or ()) + 1
    numbers = {fields[0] for fields in lines if len(fields) == width and fields[0].isdecimal()}
    if not lines or len(numbers) < len(lines):
        return columns
    if columns.weight is not None and not all(is_number(fields[columns.weight + 1]) for fields in lines):
        return columns
    genes = [fields[place + 1] for fields in lines for place in (columns.regulator, columns.target)]
    # Genes may be numbers, but whole ones.
    if any(is_number(gene) and not gene.isdecimal() for gene in genes):
        return columns
    places = {
        name: place + 1
        for name in ("regulator", "target", "weight", "sign")
        if (place := getattr(columns, name)) is not None
    }
    return replace(columns, **places, row_names=True)


def list_columns(path: Path | str, first: Sequence[str], second: Sequence[str] = ()) -> LinkColumns:
    """Columns of a list of weighed links by its first lines: by name, or in order where it has no header.

    Raises
    ------
    TableError
        If the first line is a header that does not name all three.
    """
    found = named_columns(first)
    if found is None and len(first) >= 3 and not is_number(first[2]):
        raise TableError(
            f"{path}: its header ({', '.join(first[:5])}) must name {_NAMES} and importance (or weight, EdgeWeight, "
            "score); a list without a header has these three columns in this order, and perhaps the sign"
            + no_number(first[2])
        )
    if found is not None and found.weight is None:
        raise TableError(
            f"{path}: its header names no weights: call the column importance, weight, EdgeWeight or score"
        )
    if found is None:
        # Numbers there would be decimals after a comma.
        return LinkColumns(0, 1, 2, None, 3 if len(first) > 3 and first[3] in _SIGNS else None)
    return _beside_row_names(found, [second])


def gold_columns(path: Path | str, lines: Sequence[Sequence[str]]) -> LinkColumns:
    """Columns of a gold standard by its lines; `weight` is where a number says which lines are links.

    Such a column is the only one that holds nothing but 0 and 1, or one of them that is called weight; where there is
    none, one with a name of weights. Without a header the lines are as those of the DREAM challenges: regulator,
    target, and 0 or 1.

    Raises
    ------
    TableError
        If neither a header nor 0 and 1 tell what the columns are, or several columns hold 0 and 1.
    """
    found = named_columns(lines[0]) if lines else None
    if found is None:
        if lines and all(len(fields) == 3 and is_mark(fields[2]) for fields in lines):
            return LinkColumns(0, 1, 2, None)
        raise TableError(f"{path} is not a gold standard: its header must hold {_NAMES}")
    found = _beside_row_names(found, lines[1:])
    others = set(range(found.row_names, found.most)) - {found.regulator, found.target, found.sign}
    marks = [place for place in sorted(others) if _marks(lines[1:], place)]
    names = [lines[0][place - found.row_names] for place in marks]
    if len(marks) > 1:
        if [name.casefold() for name in names].count("weight") != 1:
            raise TableError(
                f"{path}: several columns hold 0 and 1 ({', '.join(names)}): rename the one that says which lines "
                "are links to weight"
            )
        marks = [place for place, name in zip(marks, names, strict=True) if name.casefold() == "weight"]
    return replace(found, weight=marks[0] if marks else found.weight)


def _marks(lines: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a column says of every line whether it is a link."""
    return bool(lines) and all(place < len(fields) and is_mark(fields[place]) for fields in lines)


def is_mark(text: str) -> bool:
    """Whether it says that something is a link, or none: 1 and 0, true and false, yes and no."""
    return text.casefold() in _TRUE | _FALSE


def is_false(text: str) -> bool:
    """Whether it says that something is not a link: such a mark, or a number that is 0."""
    return text.casefold() in _FALSE or (is_number(text) and float(text) == 0)
