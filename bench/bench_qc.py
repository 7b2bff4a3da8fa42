"""Quality control: seconds for Roadmap's 1014 tracks, and what is caught: `pytest bench/bench_qc.py --benchmark-only`.

No time is asserted. The table of docs/qc.md is printed with `-s`; it needs the real pilot tracks (a minute to read).
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.roadmap import roadmap_pairs
from made_moments import corrupted_pilot, of_columns, simulated_moments
from predictd.engine.base import one_blas_thread
from predictd.model.labels.quality import FLAGS, Findings, Tracks, examine
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, axes, rows_of

SHARED = Path(__file__).resolve().parents[2] / "shared"


def tracks_of(experiments: list[Experiment], s: np.ndarray, at_highest: np.ndarray | None = None) -> Tracks:
    cell_types, assays = axes(experiments)
    return Tracks(
        s,
        *rows_of(experiments, cell_types, assays),
        len(cell_types),
        len(assays),
        np.zeros(len(experiments)) if at_highest is None else at_highest,
        np.ones(len(experiments), dtype=bool),
        np.zeros(len(experiments), dtype=bool),
    )


@pytest.mark.parametrize("swaps", [0, 10])
def test_roadmap_shape(benchmark, swaps: int) -> None:
    """1014 tracks on one core; with ten pairs of them swapped."""
    simulation = Simulation(tuple(roadmap_pairs()), rank=30, seed=1)
    experiments = list(simulation.experiments)
    s = simulated_moments(simulation)
    chosen = np.random.default_rng(0).choice(len(experiments), (swaps, 2), replace=False)
    order = np.arange(len(experiments))
    for one, two in chosen:
        order[[one, two]] = two, one
    with one_blas_thread():
        findings = benchmark.pedantic(examine, args=(tracks_of(experiments, of_columns(s, order)),), rounds=1)
    flagged = {i for i, flags in enumerate(findings.flags) if flags}
    benchmark.extra_info["swapped tracks flagged"] = len(flagged & set(chosen.ravel().tolist()))
    benchmark.extra_info["others flagged"] = len(flagged - set(chosen.ravel().tolist()))


def test_small_shapes(benchmark) -> None:
    """Flags on sound simulated tracks, and swaps caught, over 20 seeds a shape."""
    shapes = [(5, 5, 0.8, 5), (8, 5, 0.7, 30), (12, 6, 0.6, 10), (20, 10, 0.4, 30)]

    def count() -> None:
        for n_cells, n_assays, share, rank in shapes:
            false = caught = n = 0
            for seed in range(20):
                simulation = Simulation.for_shape(n_cells, n_assays, share=share, rank=rank, seed=seed)
                experiments, s = list(simulation.experiments), simulated_moments(simulation)
                n = len(experiments)
                false += sum(map(bool, examine(tracks_of(experiments, s)).flags))
                one, two = np.random.default_rng(seed).choice(n, 2, replace=False)
                order = np.arange(n)
                order[[one, two]] = two, one
                found = examine(tracks_of(experiments, of_columns(s, order))).flags
                caught += sum("swapped" in found[i] for i in (one, two))
            print(
                f"{n_cells} × {n_assays}, {n} tracks: {false / 20:.2f} flagged when sound, {caught / 40:.0%} of swapped"
            )

    benchmark.pedantic(count, rounds=1)


def test_pilot(benchmark) -> None:
    """Every swap and every damage of the 20 real tracks."""
    if not SHARED.is_dir():
        pytest.skip("the real pilot tracks are not here")
    experiments, kinds, s = corrupted_pilot(SHARED)
    every = np.arange(20)

    def look(order: np.ndarray, at_highest: np.ndarray | None = None) -> Findings:
        return examine(tracks_of(experiments, of_columns(s, order), at_highest))

    def row(name: str, cases: list[tuple[Findings, set[int], str]]) -> None:
        caught = np.mean([sum(flag in v.flags[i] for i in bad) / len(bad) for v, bad, flag in cases])
        others = [sum(bool(f) for i, f in enumerate(v.flags) if i not in bad) for v, bad, _ in cases]
        place = [v.order().index(i) < len(bad) for v, bad, _ in cases for i in bad]
        print(
            f"{name}: {len(cases)} cases, caught {caught:.1%}, others flagged {np.mean(others):.2f} a case",
            end="",
        )
        print(f", on top of the list {np.mean(place):.0%}")

    def count() -> None:
        print("\nsound:", sum(map(bool, look(every).flags)), "of 20 flagged")
        swaps: dict[str, list[tuple[Findings, set[int], str]]] = {}
        for one, two in combinations(range(20), 2):
            order = every.copy()
            order[[one, two]] = two, one
            a, b = experiments[one], experiments[two]
            kind = "assay" if a.cell_type == b.cell_type else "cell type" if a.assay == b.assay else "both"
            swaps.setdefault(f"swapped {kind}", []).append((look(order), {one, two}, FLAGS[0]))
        for name, cases in swaps.items():
            row(name, cases)
        wanted = dict(
            zip(kinds[1:], ("amplitude", "amplitude", "amplitude", "dead", "saturated"), strict=True)
        )
        for kind, flag in wanted.items():
            cases = []
            for i in range(20):
                order = every.copy()
                order[i] += 20 * kinds.index(kind)
                at_highest = np.where(every == i, 0.01, 0.0) if kind == "capped" else None
                cases.append((look(order, at_highest), {i}, flag))
            row(kind, cases)

    benchmark.pedantic(count, rounds=1)
