"""The table of what experiments cost."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from predictd.errors import TableError
from predictd.io.tables import table_rows
from predictd.pairs import Experiment


@dataclass(frozen=True)
class Costs:
    """What experiments cost, in dollars or any other unit.

    Attributes
    ----------
    by_assay
        Of any cell type.
    by_pair
        Of one pair, which wins over its assay's.
    """

    by_assay: dict[str, float]
    by_pair: dict[Experiment, float]

    def of(self, pair: Experiment) -> float | None:
        """Cost of a pair; None where the table has none: it cannot be bought."""
        return self.by_pair.get(pair, self.by_assay.get(pair.assay))


def read_costs(path: Path, cell_types: Collection[str], assays: Collection[str]) -> Costs:
    """Read a TSV with the columns `assay` and `cost`, and `cell_type` where costs differ by it.

    A row without a cell type is for all of them.

    Raises
    ------
    TableError
        If the file is not such a table, names what is not in the tensor, names something twice, or a cost is not a
        positive number.
    """
    by_assay: dict[str, float] = {}
    by_pair: dict[Experiment, float] = {}
    for line, row in table_rows(path, required=("assay", "cost")):
        where = f"{path}, line {line}"
        assay, cell_type = row["assay"], row.get("cell_type", "")
        for name, known, what in ((assay, assays, "assay"), (cell_type, cell_types, "cell type")):
            if name not in known and (name or what == "assay"):
                raise TableError(
                    f"{where}: the tensor has no {what} '{name}'; correct the name or remove the row"
                )
        try:
            cost = float(row["cost"])
        except ValueError:
            cost = math.nan
        if not 0 < cost < math.inf:
            raise TableError(f"{where}: cost '{row['cost']}' is not a positive number")
        if (Experiment(cell_type, assay) in by_pair) if cell_type else (assay in by_assay):
            raise TableError(
                f"{where}: a line above has a cost of {cell_type + ':' if cell_type else ''}{assay}, too; keep one"
            )
        if cell_type:
            by_pair[Experiment(cell_type, assay)] = cost
        else:
            by_assay[assay] = cost
    if not by_assay and not by_pair:
        raise TableError(f"{path} lists no costs: it needs a line per assay below its header")
    return Costs(by_assay, by_pair)
