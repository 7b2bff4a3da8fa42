"""What ranks of an MPI job send each other, and what 64 would: `python bench/scale_out.py FOLDER`.

`cv`, `impute` and an exchange of factors of `train --solver sgd` on a small simulated tensor with 2, 4 and 8 ranks:
these may be more than there are processors, since messages are counted and nothing is timed. Every rank counts, at the
communicators of the engine, what it asks MPI to send; of a collective operation with R ranks the least that any
algorithm has to move in all: of n bytes (R − 1) n for a broadcast, 2 (R − 1) n for an all-reduce, R (R − 1) n for an
all-gather, (R − 1) n for an all-to-all, in R − 1, 2 (R − 1), R (R − 1) and R (R − 1) messages. Looking whether a
message is there sends nothing.

Bytes and messages are a + b · R by what 2 and 4 ranks sent; messages of each to each, as SGD exchanges its factors, are
a + b · R (R − 1). 8 ranks show how far that holds (10 % passes), and what it makes of 64 is a projection, no
measurement. What cv and impute write with 2, 4 and 8 ranks is compared byte by byte.

Needs the extra `mpi` and an MPI library with `mpiexec`.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.roadmap import make_tensor
from predictd.constants import MANIFEST
from predictd.io.files import sha256_of, write_json, write_text
from predictd.model.simulate import Simulation
from predictd.wording import aligned

RANKS, MANY, ALLOWED = (2, 4, 8), 64, 0.1
COUNTS = "PREDICTD_BENCH_COUNTS"
EACH = "messages of each to each"
COUNTED = ("bytes", "messages", EACH)
EXCHANGES = "exchanges"
MPIEXEC = Path(sys.executable).with_name("mpiexec")
SGD = ("--solver", "sgd", "--rank", "5", "--lambda", "0.1", "--config", "sgd.toml")
# No early stop; how many rounds there are still depends on the number of ranks, so that an exchange is shown.
ROUNDS = "[train.sgd]\nmax_rounds = 50\nwindow = 1000\npatience = 1000\n"
EM = ("--solver", "em", "--rank", "5", "--lambda", "0.1")
# By name: the arguments, with the number of ranks in place of {}. The moments are made by each anew.
COMMANDS = {
    "train, an exchange of sgd": ("train", "wide", "-o", "{}.h5", *SGD),
    "cv, em": ("cv", "tensor", "-o", "{}-cv", "--moments", "{}.moments.h5", *EM),
    "impute": ("impute", "2-cv", "tensor", "-o", "{}-imputed"),
}
# SGD takes another course with more workers.
SAME = ("-cv", "-imputed")

Counts = dict[str, dict[str, float]]


# -- on every rank ----------------------------------------------------------------------------------------------------


class Counted:
    """A communicator that counts what is sent through it."""

    def __init__(self, inner: Any, totals: dict[str, int]) -> None:
        self._inner, self._totals = inner, totals

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        cost = _COSTS.get(name)
        if cost is None:
            if callable(found) and name not in _SILENT:
                raise NotImplementedError(f"{name} of a communicator is not counted")
            return found

        def counting(*arguments: Any, **options: Any) -> Any:
            messages, each = cost(self._inner, arguments[-1 if name == "Allreduce" else 0])
            self._totals[EACH if name in ("Allgather", "Alltoall") else "messages"] += messages
            self._totals["bytes"] += messages * each
            self._totals[EXCHANGES] += name == "Alltoall" and not self._inner.rank
            return found(*arguments, **options)

        return counting


def _n_bytes(buffer: Any) -> int:
    """Of what is sent: an array, or a buffer and its type."""
    return memoryview(buffer[0] if isinstance(buffer, list) else buffer).nbytes


# What a rank adds to the messages of an operation, and the bytes of each. Split_type is called once, for a few bytes.
_COSTS: dict[str, Callable[[Any, Any], tuple[int, int]]] = {
    "send": lambda comm, value: (1, len(pickle.dumps(value))),
    **dict.fromkeys(("Send", "Isend"), lambda comm, buffer: (1, _n_bytes(buffer))),
    **dict.fromkeys(
        ("Bcast", "Ibcast"), lambda comm, buffer: (0 if comm.rank else comm.size - 1, _n_bytes(buffer))
    ),
    "Allreduce": lambda comm, buffer: (2 if comm.rank else 0, _n_bytes(buffer)),
    "Allgather": lambda comm, buffer: (comm.size - 1, _n_bytes(buffer)),
    "Alltoall": lambda comm, buffer: (comm.size - 1, _n_bytes(buffer) // comm.size),
}
_SILENT = ("Abort", "Iprobe", "Recv", "Split_type", "recv")


def serve(arguments: list[str]) -> None:
    """Be one rank of a command that counts."""
    from predictd.cli import main as predictd
    from predictd.engine.mpi.world import World

    totals = {kind: dict.fromkeys((*COUNTED, EXCHANGES), 0) for kind in ("control", "data")}
    begin = World.__init__

    def counting(world: World) -> None:
        begin(world)
        world.control = Counted(world.control, totals["control"])
        world.data = Counted(world.data, totals["data"])
        path = Path(os.environ[COUNTS], f"{world.rank}.json")
        # Runs after the engine's own, by which rank 0 lets the others go: the last comes first.
        atexit.register(lambda: path.write_text(json.dumps(totals)))

    World.__init__ = counting  # type: ignore[method-assign]
    sys.argv = ["predictd", *arguments]
    predictd()


# -- the bench --------------------------------------------------------------------------------------------------------


def count(folder: Path, ranks: int, name: str) -> dict[str, float]:
    """Run a command on so many ranks: bytes and messages of all of them.

    Where they run a program together (SGD), of an exchange: what the program sends, over the number of its exchanges.
    """
    arguments = [part.format(ranks) for part in COMMANDS[name]]
    counts = folder / f"{ranks}-{name.split(',')[0]}.counts"
    if not (counts / "0.json").exists():
        counts.mkdir(exist_ok=True)
        program = [sys.executable, str(Path(__file__).resolve()), "--serve", *arguments]
        with (folder / "scale_out.log").open("ab") as log:
            subprocess.run(
                [str(MPIEXEC), "-n", str(ranks), *program, "--engine", "mpi", "--workers", "1", "--quiet"],
                cwd=folder,
                check=True,
                stdout=log,
                stderr=log,
                env={**os.environ, COUNTS: str(counts)},
            )
    found = [json.loads((counts / f"{rank}.json").read_text()) for rank in range(ranks)]
    exchanges = found[0]["data"][EXCHANGES]
    kinds = ("data",) if exchanges else ("control", "data")
    return {
        what: sum(one[kind][what] for one in found for kind in kinds) / (exchanges or 1) for what in COUNTED
    }


def foretold(at: dict[int, float], what: str) -> Callable[[int], float]:
    """What ranks send, as a + b · R through the two smallest numbers of ranks; of each to each, a + b · R (R − 1)."""

    def term(ranks: int) -> int:
        return ranks * (ranks - 1) if what == EACH else ranks

    (r0, y0), (r1, y1) = sorted(at.items())[:2]
    slope = (y1 - y0) / (term(r1) - term(r0))
    return lambda ranks: y0 + slope * (term(ranks) - term(r0))


def differing(folder: Path) -> list[str]:
    """Files that some number of ranks wrote otherwise than the smallest; run.json tells of times."""
    found = []
    for kind in SAME:
        first = folder / f"{RANKS[0]}{kind}"
        for path in sorted(first.rglob("*")):
            if path.is_file() and path.name != "run.json":
                others = [folder / f"{n}{kind}" / path.relative_to(first) for n in RANKS[1:]]
                found += [str(other) for other in others if sha256_of(other) != sha256_of(path)]
    return found


def main() -> None:
    """Count, project, compare."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bins", type=int, default=40_000, help="[40000]")
    given = parser.parse_args()
    folder = given.folder.resolve() / f"b{given.bins}"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "sgd.toml", ROUNDS)
    # Factors are dealt out by rows: with few of them, ranks have empty ones, which are sent as well.
    sizes = {"tensor": (10, 10, 0.6, given.bins), "wide": (128, 64, 0.1, given.bins // 10)}
    for name, (cells, assays, share, bins) in sizes.items():
        if not (folder / name / MANIFEST).exists():
            pairs = Simulation.for_shape(cells, assays, share=share).experiments
            make_tensor(folder / name, pairs, bins, chromosomes=16)
    last = RANKS[-1]
    rows = [("", "of", *(f"{n} ranks" for n in RANKS), f"foretold for {last}", "off", f"{MANY} ranks")]
    kept: dict[str, Any] = {}
    for name in COMMANDS:
        counts = {n: count(folder, n, name) for n in RANKS}
        for what in COUNTED:
            at = {n: counts[n][what] for n in RANKS}
            if not any(at.values()):
                continue
            guess = foretold(at, what)
            off, projected = guess(last) / at[last] - 1, guess(MANY)
            kept[f"{name}: {what}"] = {str(n): value for n, value in at.items()} | {
                str(MANY): projected,
                "off": off,
            }
            told = f"{100 * off:+.1f} %{' !' if abs(off) > ALLOWED else ''}"
            numbers = (f"{n:,.0f}" for n in (*at.values(), guess(last)))
            rows.append((name, what, *numbers, told, f"{projected:,.0f}"))
    other = differing(folder)
    write_json(folder / "scale_out.json", {"counts": kept, "differing": other})
    print(f"{given.bins:,} bins\n{aligned(rows)}")
    print(
        f"\nWith all numbers of ranks cv and impute write {f'other bytes: {other}' if other else 'the same bytes'}."
    )


if __name__ == "__main__":
    main()
