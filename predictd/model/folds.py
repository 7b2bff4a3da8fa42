"""Splitting the experiments into training, validation and test sets.

The experiments are the edges of a bipartite graph between cell types and assays, and a set of folds
is a colouring of these edges. A bipartite graph always has a colouring in which every vertex has each
colour equally often, give or take one, and the colours are equally frequent, give or take one (de Werra
1971; McDiarmid 1972). Such a colouring is what `make_folds` finds: any two colours that are out of balance
are joined and split again by alternating along Euler trails until none is. From two folds on, a cell
type or assay with two or more experiments therefore never loses all of them to one fold.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from predictd.errors import ConfigError, DataError, TableError
from predictd.pairs import Experiment
from predictd.wording import some

logger = logging.getLogger(__name__)

# Durham et al. 2018: test folds, and validation folds of each.
TESTS, VALIDS = 5, 8
_PARTS = ("test", "valid", "train")
# Models are kept in files of these names.
_NAME = re.compile(r"[A-Za-z0-9._-]+")
# Experiments named in full in a message before the rest is only counted.
_NAMED = 5


@dataclass(frozen=True)
class Fold:
    """One split of the experiments.

    Parameters
    ----------
    name
        `T.V` (test fold T, validation fold V, both from 0) or another name of letters, digits, `.`, `_`, `-`.
    test, valid, train
        Experiments never seen while training, those that steer it, and those that are fitted. Kept sorted.
    """

    name: str
    test: tuple[Experiment, ...]
    valid: tuple[Experiment, ...]
    train: tuple[Experiment, ...]

    def __post_init__(self) -> None:
        for part in _PARTS:
            object.__setattr__(self, part, tuple(sorted(getattr(self, part))))

    @property
    def owner(self) -> str:
        """Name of the test fold that it belongs to: the part before the dot."""
        return self.name.partition(".")[0]

    def whole(self) -> Fold:
        """All that its test fold does not test, without validation; named as the test fold."""
        return whole_of([self])


def whole_of(group: Sequence[Fold]) -> Fold:
    """All that the folds of one test fold train on or validate, without validation; named as the test fold."""
    known = {pair for fold in group for pair in (*fold.valid, *fold.train)}
    return Fold(group[0].owner, group[0].test, (), tuple(known))


def by_test_fold(folds: Sequence[Fold]) -> dict[str, list[Fold]]:
    """Folds by test fold: the part of their names before the dot."""
    groups: dict[str, list[Fold]] = {}
    for fold in folds:
        groups.setdefault(fold.owner, []).append(fold)
    return groups


def make_folds(
    experiments: Iterable[Experiment], *, tests: int = TESTS, valids: int = VALIDS, seed: int = 0
) -> list[Fold]:
    """Split the experiments for nested cross-validation (Durham et al. 2018: 5 test × 8 validation folds).

    An experiment that is the only one of its cell type or of its assay trains in all splits; every other
    one is in exactly one test fold. Of what a test fold leaves, the experiments whose cell type and assay
    both keep another one are each in exactly one validation fold; the rest train in all splits of that
    test fold. Where `by_assay_alone` holds, only assays have to keep another one. Sizes of test folds,
    sizes of the validation folds of one test fold, and the shares of each cell type and assay in them all
    differ by at most one. The order of `experiments` does not matter.

    Parameters
    ----------
    experiments
        All experiments of the tensor.
    tests, valids
        Numbers of test folds and of validation folds in each, at least 2. Where fewer experiments can
        be held out, there are that many folds, and a warning is logged.
    seed
        Same experiments and seed, same folds.

    Returns
    -------
    list of Fold
        By test fold, then validation fold; in each, every cell type (unless `by_assay_alone`) and every
        assay that occurs in `experiments` has at least one training experiment.

    Raises
    ------
    ConfigError
        If `tests` or `valids` is under 2.
    DataError
        If no experiment can be held out, or a test fold leaves none that could validate.
    """
    _check_count(tests, "test folds")
    _check_count(valids, "validation folds")
    pairs = sorted(set(experiments))
    rng = random.Random(seed)
    alone = by_assay_alone(pairs)
    holdable = _holdable(pairs, alone)
    _report_never_held(pairs, holdable)
    n_tests = _lower(tests, len(holdable), "test folds")
    folds = []
    for t, test in enumerate(_balanced_classes(holdable, n_tests, rng)):
        held = set(test)
        rest = [e for e in pairs if e not in held]
        candidates = _holdable(rest, alone)
        if not candidates:
            raise DataError(
                f"test fold {t} ({some(test, _NAMED)}) leaves no experiment for validation: the "
                f"{len(pairs)} experiments are too few for {n_tests} test folds; train without folds, "
                "choose another number of test folds or add experiments"
            )
        n_valids = _lower(valids, len(candidates), f"validation folds of test fold {t}")
        for v, valid in enumerate(_balanced_classes(candidates, n_valids, rng)):
            train = set(rest).difference(valid)
            folds.append(Fold(f"{t}.{v}", tuple(test), tuple(valid), tuple(train)))
    return folds


def validation_split(experiments: Iterable[Experiment], *, share: int = VALIDS, seed: int = 0) -> Fold:
    """Hold out a seeded 1/`share` of the experiments for validation and train on the rest.

    The same rules as in `make_folds` hold: cell types and assays are drawn from evenly and each keeps a
    training experiment. At least one experiment is held out.

    Returns
    -------
    Fold
        Named `holdout`, without test experiments.

    Raises
    ------
    ConfigError
        If `share` is under 2.
    DataError
        If no experiment can be held out.
    """
    _check_count(share, "the share")
    pairs = sorted(set(experiments))
    holdable = _holdable(pairs, by_assay_alone(pairs))
    _report_never_held(pairs, holdable)
    valid = _balanced_classes(holdable, min(share, len(holdable)), random.Random(seed))[0]
    return Fold("holdout", (), tuple(valid), tuple(set(pairs).difference(valid)))


def by_assay_alone(experiments: Iterable[Experiment]) -> bool:
    """Whether no experiment shares its cell type and its assay with others: assays alone can predict one.

    So it is where all experiments are of one assay.
    """
    return not _holdable(sorted(set(experiments)), False)


def check_fold(fold: Fold, experiments: Iterable[Experiment]) -> None:
    """Raise DataError unless `fold` can be trained on a tensor that holds `experiments`.

    The fold may leave experiments of the tensor out; it may not name others, name one twice, or leave a
    cell type (unless `by_assay_alone`) or assay of the tensor without training experiments.
    """
    known = sorted(set(experiments))
    named = [*fold.test, *fold.valid, *fold.train]
    unknown = sorted(set(named).difference(known))
    if unknown:
        raise DataError(
            f"fold {fold.name}: not in the tensor: {some(unknown, _NAMED)}; take folds made from this tensor"
        )
    twice = sorted(e for e, times in Counter(named).items() if times > 1)
    if twice:
        raise DataError(
            f"fold {fold.name}: named more than once: {some(twice, _NAMED)}; an experiment is in one of "
            "test, valid and train"
        )
    for axis, what in ((0, "cell type"), (1, "assay"))[by_assay_alone(known) :]:
        trained = {e[axis] for e in fold.train}
        for name in sorted({e[axis] for e in known}.difference(trained)):
            raise DataError(
                f"fold {fold.name}: no training experiment of {what} {name} is left; "
                "move one of its experiments to train"
            )


def folds_to_json(folds: Iterable[Fold]) -> list[dict[str, Any]]:
    """Return the content of `folds.json`: {name, test, valid, train} a fold, pairs as `CELL:ASSAY`."""
    return [
        {"name": fold.name, **{part: [str(e) for e in getattr(fold, part)] for part in _PARTS}}
        for fold in folds
    ]


def folds_from_json(data: object) -> list[Fold]:
    """Read what `folds_to_json` returns, or the same made by hand.

    Raises
    ------
    TableError
        If the structure is another one, a pair is none, or two folds have the same name.
    """
    if not isinstance(data, list) or not data:
        raise TableError("folds: a list of {name, test, valid, train} is expected, with at least one fold")
    folds = [_fold_from_json(entry, f"folds, entry {i}") for i, entry in enumerate(data, start=1)]
    names = Counter(fold.name for fold in folds)
    for name, times in names.items():
        if times > 1:
            raise TableError(f"folds: {times} folds are named '{name}'; give each its own name")
    return folds


def _fold_from_json(entry: object, where: str) -> Fold:
    keys = {"name", *_PARTS}
    if not isinstance(entry, dict) or set(entry) != keys:
        found = (
            f"has {', '.join(map(repr, entry)) or 'no keys'}" if isinstance(entry, dict) else "is no object"
        )
        raise TableError(f"{where}: an object with name, test, valid and train is expected, this {found}")
    name = entry["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TableError(f'{where}: name must be text of letters, digits, ".", "_" and "-", not {name!r}')
    parts = {}
    for part in _PARTS:
        texts = entry[part]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise TableError(f"{where} ({name}): {part} must be a list of pairs written CELL:ASSAY")
        try:
            parts[part] = tuple(Experiment.parse(text) for text in texts)
        except TableError as err:
            raise TableError(f"{where} ({name}), {part}: {err}") from err
    return Fold(name, **parts)


def _check_count(count: int, what: str) -> None:
    # One single fold would hold out everything that it may, and leave cell types without training data.
    if count < 2:
        raise ConfigError(f"{what} must be 2 or more, not {count}")


def _lower(wanted: int, possible: int, what: str) -> int:
    if possible < wanted:
        logger.warning(
            "only %d %s instead of %d: no more experiments can be held out", possible, what, wanted
        )
    return min(wanted, possible)


def _report_never_held(pairs: Sequence[Experiment], holdable: Sequence[Experiment]) -> None:
    if not holdable:
        raise DataError(
            f"none of the {len(pairs)} experiments can be held out: each is the only one of its assay, which is "
            "predicted from other cell types; add experiments of the same assays in other cell types"
        )
    never = sorted(set(pairs).difference(holdable))
    if never:
        logger.warning(
            "%d of %d experiments have a cell type or an assay that no other has, and are in the training set of every "
            "fold: %s",
            len(never),
            len(pairs),
            some(never, _NAMED),
        )


def _holdable(pairs: Sequence[Experiment], by_assay: bool) -> list[Experiment]:
    """Return the pairs whose cell type and assay, or assay alone, occur in another pair as well."""
    cells = Counter(e.cell_type for e in pairs)
    assays = Counter(e.assay for e in pairs)
    return [e for e in pairs if (by_assay or cells[e.cell_type] > 1) and assays[e.assay] > 1]


def _balanced_classes(
    pairs: Sequence[Experiment], n_classes: int, rng: random.Random
) -> list[list[Experiment]]:
    """Split pairs into classes whose sizes, overall and by cell type and assay, differ by at most one."""
    # Sorting by drawn keys: of the methods of Random, random() alone promises the same numbers everywhere.
    drawn = [(rng.random(), e) for e in sorted(pairs)]
    shuffled = [e for _, e in sorted(drawn)]
    classes = [shuffled[k::n_classes] for k in range(n_classes)]
    # Splitting two classes again lowers the sum of squared sizes (overall and of each cell type and assay)
    # unless they are balanced already, so this ends.
    changed = True
    while changed:
        changed = False
        for j in range(n_classes):
            for i in range(j):
                if not _balanced(classes[i], classes[j]):
                    classes[i], classes[j] = _halves(classes[i] + classes[j])
                    changed = True
    return classes


def _balanced(one: Sequence[Experiment], other: Sequence[Experiment]) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    for axis in (0, 1):
        counts = Counter(e[axis] for e in one)
        counts.subtract(e[axis] for e in other)
        if any(abs(count) > 1 for count in counts.values()):
            return False
    return True


def _halves(pairs: Sequence[Experiment]) -> tuple[list[Experiment], list[Experiment]]:
    """Split pairs in two by alternating along trails of the bipartite graph.

    Trails start at vertices of odd degree as long as there are any, and end at another one; what is left
    are closed trails, of even length because the graph is bipartite. At every vertex that it passes a
    trail gives one edge to either half, so only the one trail end at an odd vertex leaves one over.
    """
    edges_at: dict[tuple[int, str], list[int]] = {}
    for index, pair in enumerate(pairs):
        for axis in (0, 1):
            edges_at.setdefault((axis, pair[axis]), []).append(index)
    used = [False] * len(pairs)
    halves: tuple[list[Experiment], list[Experiment]] = ([], [])

    def walk(start: tuple[int, str]) -> bool:
        trail = _trail(start, pairs, edges_at, used)
        # The half that is behind gets the extra edge of a trail of odd length.
        first = int(len(halves[1]) < len(halves[0]))
        for step, index in enumerate(trail):
            halves[(first + step) % 2].append(pairs[index])
        return bool(trail)

    for vertex, edges in edges_at.items():
        # A trail that ended here has made the number of unused edges even.
        if sum(not used[index] for index in edges) % 2:
            walk(vertex)
    for vertex in edges_at:
        while walk(vertex):
            pass
    return halves


def _trail(
    start: tuple[int, str],
    pairs: Sequence[Experiment],
    edges_at: dict[tuple[int, str], list[int]],
    used: list[bool],
) -> list[int]:
    """Walk unused edges from a vertex until stuck; mark and return them in order."""
    trail: list[int] = []
    axis, name = start
    while True:
        waiting = edges_at[axis, name]
        while waiting and used[waiting[-1]]:
            waiting.pop()
        if not waiting:
            return trail
        index = waiting.pop()
        used[index] = True
        trail.append(index)
        axis = 1 - axis
        name = pairs[index][axis]
