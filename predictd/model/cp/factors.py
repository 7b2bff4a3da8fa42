"""The CP model: factors and biases of cell types and assays; those of the genome follow in closed form.

ŷ[c,a,g] = μ + p_c + q_a + r_g + Σ_l C[c,l] A[a,l] G[g,l] on transformed signal (Durham et al. 2018). All bins share
the observed experiments, so [G_g ; r_g] = K⁻¹ Z (y_g − o) with one matrix K for the whole genome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy

from predictd.errors import DataError
from predictd.model.imputer import AffineMap, Completion, Imputer
from predictd.model.ranges import Ranges
from predictd.pairs import Experiment, rows_of

Array = npt.NDArray[np.float64]
# A component smaller than this has died: zero is absorbing.
DEAD = 1e-12


@dataclass(frozen=True)
class CPModel:
    """Factors, biases and what the closed form needs.

    Attributes
    ----------
    cell_types, assays
        Names of the rows of C and of A.
    c, a
        Factors: float64 (n_cells × L), (n_assays × L).
    p, q
        Biases: float64 (n_cells,), (n_assays,).
    mu
        Mean signal.
    lambda_g
        Penalty of the genome's factors in the closed form. It belongs to C and A: they are never rescaled without it.
    train
        Training experiments, whose signal the model reads when it imputes.
    ranges
        Of the assays, which predictions do not leave; None: they go anywhere.
    g_moments
        Mean of g gᵀ over the bins trained on, where g are the genome's factors of a bin: float64 (L × L). It says how
        much signal the entries of C and A stand for. None: not known, as in files of earlier versions.
    """

    kind: ClassVar[str] = "cp"

    cell_types: tuple[str, ...]
    assays: tuple[str, ...]
    c: Array
    a: Array
    p: Array
    q: Array
    mu: float
    lambda_g: float
    train: tuple[Experiment, ...]
    ranges: Ranges | None = None
    g_moments: Array | None = None

    @property
    def rank(self) -> int:
        """Number of components L."""
        return int(self.c.shape[1])

    def indices(self, pairs: Sequence[Experiment]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows of C and of A for pairs.

        Raises
        ------
        DataError
            If the model knows a pair's cell type or assay not.
        """
        return rows_of(pairs, self.cell_types, self.assays)

    def design(self, pairs: Sequence[Experiment]) -> tuple[Array, Array]:
        """Z with columns [C_c ∘ A_a ; 1] (L+1 × k) and o = μ + p_c + q_a (k,) of pairs."""
        cells, assays = self.indices(pairs)
        z = np.vstack([(self.c[cells] * self.a[assays]).T, np.ones(len(pairs))])
        return z, self.mu + self.p[cells] + self.q[assays]

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """The affine map from the training experiments' signal to that of `targets`."""
        own, solution, own_intercept = self.affine(self.train)
        left, _, intercept = self.affine(targets, solution)
        return Imputer(
            inputs=self.train,
            targets=tuple(targets),
            affine=AffineMap(left, solution, intercept),
            bounds=None if self.ranges is None else self.ranges.of_targets(self.indices(targets)[1]),
            limits=None
            if self.ranges is None
            else self.ranges.of_inputs(self.indices(self.train)[1], np.arange(len(self.train))),
            completion=Completion(own @ solution, own_intercept),
        )

    def within(self, ranges: Ranges) -> CPModel:
        """See `predictd.model.ensemble.Model`."""
        return replace(self, ranges=ranges)

    def alone(self, targets: Sequence[Experiment]) -> dict[str, AffineMap]:
        """See `predictd.model.ensemble.Model`: it is of one piece."""
        return {}

    def affine(
        self, targets: Sequence[Experiment], solution: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """The map ŷ = Z_tᵀ M y + b from the training experiments' signal to that of `targets`.

        Returns
        -------
        left, solution, intercept
            Z_tᵀ (m × L+1), M (L+1 × n; computed unless it is given) and b (m,).
        """
        z, o = self.design(self.train)
        z_targets, o_targets = self.design(targets)
        if solution is None:
            solution = solve_genome(z, self.lambda_g)
        return z_targets.T, solution, o_targets - z_targets.T @ (solution @ o)

    def expected_errors(self, pairs: Sequence[Experiment]) -> None:
        """None: factors do not say how large errors are."""

    def with_genome(self, s: Array, train: npt.NDArray[np.intp]) -> CPModel:
        """The same model with `g_moments`, exactly from the second moments of signal.

        Parameters
        ----------
        s
            (N+1 × N+1) moments [Y 1]ᵀ[Y 1] of N tracks.
        train
            Columns of the training experiments.

        Raises
        ------
        DataError
            If the factors are so large in comparison with λ_G that float64 cannot solve for the genome.
        """
        z, o = self.design(self.train)
        try:
            solution = solve_genome(z, self.lambda_g)[:-1]
        except np.linalg.LinAlgError as err:
            raise DataError(
                "the equations for the genome cannot be solved; use a smaller `rank` or a larger `penalty`"
            ) from err
        mapped = np.column_stack([solution, -solution @ o])
        columns = np.append(train, len(s) - 1)
        return replace(self, g_moments=mapped @ s[np.ix_(columns, columns)] @ mapped.T / s[-1, -1])

    def canonical(self) -> CPModel:
        """The same predictions in the gauge in which models are saved.

        Components by falling size, dead ones dropped, the largest entry of each column of C and of A positive, and
        biases centred over the training experiments: Σ n_c p_c = Σ n_a q_a = 0.
        """
        size = np.linalg.norm(self.c, axis=0) * np.linalg.norm(self.a, axis=0)
        order = np.argsort(-size, kind="stable")
        order = order[size[order] > DEAD]
        cells, assays = self.indices(self.train)
        p_mean, q_mean = float(self.p[cells].mean()), float(self.q[assays].mean())
        c_signs, a_signs = _signs(self.c[:, order]), _signs(self.a[:, order])
        g_moments = self.g_moments
        if g_moments is not None:
            # Where one of the two changes its sign, the genome's factor does, too.
            g_moments = g_moments[np.ix_(order, order)] * np.outer(c_signs * a_signs, c_signs * a_signs)
        return replace(
            self,
            c=self.c[:, order] * c_signs,
            a=self.a[:, order] * a_signs,
            p=self.p - p_mean,
            q=self.q - q_mean,
            mu=self.mu + p_mean + q_mean,
            g_moments=g_moments,
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters by their names in the model file."""
        known = {} if self.ranges is None else self.ranges.to_arrays()
        if self.g_moments is not None:
            known = known | {"G_moments": self.g_moments}
        return {
            "C": self.c,
            "A": self.a,
            "p": self.p,
            "q": self.q,
            "mu": np.float64(self.mu).reshape(()),
            "lambda_G": np.float64(self.lambda_g).reshape(()),
            "cell_types": np.array(self.cell_types),
            "assays": np.array(self.assays),
            "train": np.array([str(experiment) for experiment in self.train]),
            **known,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> CPModel:
        """Inverse of `to_arrays`.

        Raises
        ------
        KeyError, ValueError
            If parameters are missing, or their shapes do not belong together.
        """
        cell_types, assays, train = (
            [str(x) for x in arrays[key]] for key in ("cell_types", "assays", "train")
        )
        c, a, p, q = (np.asarray(arrays[key], dtype=np.float64) for key in ("C", "A", "p", "q"))
        if c.ndim != 2 or c.shape[0] != len(cell_types) or a.shape != (len(assays), c.shape[1]):
            raise ValueError("factors and names do not belong together")
        mu, lambda_g = (float(arrays[key]) for key in ("mu", "lambda_G"))
        if not (np.isfinite(mu) and 0 < lambda_g < np.inf):
            raise ValueError("mu and lambda_G must be finite, lambda_G positive")
        if (
            p.shape != c.shape[:1]
            or q.shape != a.shape[:1]
            or not all(np.isfinite(x).all() for x in (c, a, p, q))
        ):
            raise ValueError("biases do not belong to the factors, or parameters are not finite")
        known = {Experiment(cell_type, assay) for cell_type in cell_types for assay in assays}
        pairs = tuple(Experiment(*text.partition(":")[::2]) for text in train)
        if not pairs or not known.issuperset(pairs):
            raise ValueError("training experiments do not belong to the names")
        ranges = Ranges.from_arrays(arrays, len(assays), len(pairs))
        g_moments = None
        if "G_moments" in arrays:
            g_moments = np.asarray(arrays["G_moments"], dtype=np.float64)
            if g_moments.shape != 2 * c.shape[1:] or not np.isfinite(g_moments).all():
                raise ValueError("G_moments do not belong to the factors, or are not finite")
        return cls(tuple(cell_types), tuple(assays), c, a, p, q, mu, lambda_g, pairs, ranges, g_moments)


def solve_genome(z: Array, lambda_g: float) -> Array:
    """M = K⁻¹ Z with K = Z Zᵀ + λ_G D, D = diag(1, …, 1, 0): [G_g ; r_g] = M (y_g − o).

    Parameters
    ----------
    z
        (L+1 × n), last row ones.
    lambda_g
        Positive.

    Returns
    -------
    float64 (L+1 × n)
    """
    k = z @ z.T
    diagonal = np.arange(z.shape[0] - 1)
    k[diagonal, diagonal] += lambda_g
    return np.asarray(scipy.linalg.cho_solve(scipy.linalg.cho_factor(k), z))


def _signs(columns: Array) -> Array:
    """Sign of the largest entry of each column."""
    largest = np.abs(columns).argmax(axis=0)
    return np.asarray(np.sign(columns[largest, np.arange(columns.shape[1])]))
