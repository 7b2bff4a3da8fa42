"""The MPI engine, and what every rank does to carry out its orders."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from predictd import interrupt, progress
from predictd.engine.base import (
    Array,
    Engine,
    Key,
    Program,
    Result,
    Task,
    import_quietly,
    join_subtrees,
    own_modules,
    run_task,
    subtrees,
    sum_subtree,
    usable_cpus,
)
from predictd.engine.meeting import ENDED, FAILED, EndedElsewhere, as_reported, run_program
from predictd.engine.mpi.dealing import KeyShares, deal, divide
from predictd.engine.mpi.world import MpiLink, Outcome, Share, World, join
from predictd.errors import Interrupted, PredictdError

log = logging.getLogger(__name__)

# This rank's sums of a reduction, by key range, until they are joined.
_sums: dict[tuple[int, int], Array] = {}


class MpiEngine(Engine):
    """All ranks of the MPI job that this process is rank 0 of.

    Parameters
    ----------
    workers
        Of each rank; None: as many as it has CPUs of its own, on the rank that has fewest. One worker is the rank's own
        process. Several are processes for tasks and threads for programs, as on the local engine.
    """

    name = "mpi"

    def __init__(self, workers: int | None = None) -> None:
        self._world = join()
        self.ranks = self._world.size
        settled = [outcome.value for outcome in self._order(_settle, (workers, own_modules()))]
        self._per_rank = min(share.workers for share in settled)
        self.workers = self.ranks * self._per_rank
        crowded = [share for share in settled if share.ranks * self._per_rank > share.cpus]
        if crowded:
            _warn_of(crowded[0], self._per_rank)

    def map(
        self,
        task: Task[Result],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> list[Result]:
        """See `Engine.map`; keys are dealt out to the ranks by their sizes before the work begins."""
        interrupt.stop_if_asked()
        shares = deal(sizes or [1] * len(keys), self.ranks)
        dealt = [[(index, keys[index]) for index in share] for share in shares]
        outcomes = self._order(
            _map_share, (task, dealt, shared, self._per_rank), label=label, total=len(keys)
        )
        results: dict[int, Result] = {}
        for outcome in outcomes:
            results |= outcome.value
        return [results[index] for index in range(len(keys))]

    def reduce(
        self,
        task: Task[Array],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> Array:
        """See `Engine.reduce`; each rank sums a run of sorted keys, and the ranks join their sums."""
        if not keys:
            raise ValueError("nothing to sum: no keys")
        interrupt.stop_if_asked()
        order = sorted(range(len(keys)), key=lambda index: keys[index])
        borders = divide([sizes[index] if sizes else 1 for index in order], self.ranks)
        shares = KeyShares(len(keys), borders)
        self._order(
            _sum_share,
            (task, [keys[index] for index in order], shared, shares, self._per_rank),
            label=label,
            total=len(keys),
        )
        # An order of its own, given when all have their sums: nobody waits for one that failed.
        total: Array = self._order(_join_share, shares)[0].value
        return total

    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        """See `Engine.spmd`; every rank runs as many threads as it has workers."""
        outcomes = self._order(_program_share, (program, keys, shared, self._per_rank))
        return [result for outcome in outcomes for result in outcome.value]

    def close(self) -> None:
        """End the other ranks, which wait for orders."""
        self._world.close()

    def _order(self, share: Share, payload: Any, *, label: str = "", total: int = 0) -> list[Outcome]:
        """Outcomes of an order that all ranks carried out to its end; otherwise the error of the first key.

        A program that came to its end although a signal asked to stop has its result; tasks stop between keys.
        """
        with (
            progress.progress_bar(label, total, shown=bool(label)) as bar,
            interrupt.after(f"the {label} at work" if label else ""),
        ):
            outcomes = self._world.order(share, payload, bar=bar)
        self.bytes_sent += sum(outcome.bytes_sent for outcome in outcomes)
        self.peak_memory_bytes = max(outcome.peak_memory_bytes for outcome in outcomes)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            errors.sort(key=lambda found: (isinstance(found[1], EndedElsewhere), found[0]))
            raise errors[0][1]
        if not all(outcome.complete for outcome in outcomes):
            signals = [outcome.stopped_by for outcome in outcomes if outcome.stopped_by]
            raise interrupt.stopped_by(signals[0] if signals else "a signal")
        return outcomes


# -- what every rank does; see World.order ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a rank runs, and how many workers it may have there.

    Attributes
    ----------
    workers
        Of this rank.
    host
        Name of the node.
    cpus, ranks
        Of the node: CPUs that its ranks may run on, and how many ranks.
    """

    workers: int
    host: str
    cpus: int
    ranks: int


def _settle(world: World, payload: tuple[int | None, list[str]], outcome: Outcome) -> None:
    """Where this rank is; and import what rank 0 has, which no task shall wait for."""
    workers, modules = payload
    import_quietly(modules)
    cpus, ranks = world.node()
    if workers is None:
        workers = max(1, min(usable_cpus(), cpus // ranks))
    outcome.value = _Place(workers, platform.node(), cpus, ranks)


def _warn_of(place: _Place, workers: int) -> None:
    """Say that workers will take turns: ranks that wait for others wait busily, and keep them from their work."""
    log.warning(
        "more workers than CPUs on %s: %d (ranks: %d, workers of each: %d) for %d, which slows all of them; "
        "start fewer ranks there, or give fewer `workers`",
        place.host,
        place.ranks * workers,
        place.ranks,
        workers,
        place.cpus,
    )


def _map_share(
    world: World,
    payload: tuple[Task[Any], list[list[tuple[int, Key]]], Any, int],
    outcome: Outcome,
) -> None:
    task, dealt, shared, workers = payload
    share = dealt[world.rank]
    keys = [key for _, key in share]
    done = _run_tasks(world, task, keys, [index for index, _ in share], shared, workers, outcome)
    outcome.value = {share[position][0]: result for position, result in done.items()}


def _run_tasks(
    world: World,
    task: Task[Any],
    keys: list[Key],
    positions: list[int],
    shared: Any,
    workers: int,
    outcome: Outcome,
) -> dict[int, Any]:
    """Results by place in `keys`; an error stops all ranks and is noted with its position in the whole."""
    done: dict[int, Any] = {}
    try:
        if workers > 1:
            done = world.pool(workers).run(
                task, keys, shared, name=task.__name__, stopping=world.stopping, done=world.count
            )
        else:
            for place, key in enumerate(keys):
                if world.stopping():
                    break
                done[place] = run_task(task, key, shared)
                world.count()
    except Interrupted:
        world.tell_to_stop()
    except PredictdError as err:
        world.tell_to_stop()
        outcome.error = (positions[len(done)], err)
    outcome.complete = len(done) == len(keys)
    return done


def _sum_share(
    world: World, payload: tuple[Task[Array], list[Key], Any, KeyShares, int], outcome: Outcome
) -> None:
    """Sums of this rank's subtrees, which it keeps until the order to join them."""
    task, keys, shared, shares, workers = payload
    _sums.clear()
    whole = shares.own(world.rank, 0, shares.n_keys)
    wanted = 4 * workers if workers > 1 else 0
    parts = [part for start, stop in whole for part in subtrees(start, stop, max(1, wanted // len(whole)))]
    done = _run_tasks(
        world,
        sum_subtree,
        [keys[start:stop] for start, stop in parts],
        [start for start, _ in parts],
        (task, shared),
        workers,
        outcome,
    )
    if outcome.complete:
        sums = {parts[place]: total for place, total in done.items()}
        _sums.update({node: join_subtrees(sums, *node) for node in whole})


def _join_share(world: World, shares: KeyShares, outcome: Outcome) -> None:
    """Join the ranks' sums along the tree: the total comes to be on rank 0."""

    def joined(start: int, stop: int) -> Array | None:
        if (start, stop) in _sums:
            return _sums.pop((start, stop))
        first, last = shares.owner(start), shares.owner(stop - 1)
        if first == last or not first <= world.rank <= last:
            return None
        middle = (start + stop) // 2
        left, right = joined(start, middle), joined(middle, stop)
        sender = shares.owner(middle)
        if world.rank == sender != first:
            assert right is not None
            world.send(right, first)
            outcome.bytes_sent += right.nbytes
        if world.rank != first:
            return None
        assert left is not None
        if sender != first:
            right = world.receive(like=left, source=sender)
        left += right
        return left

    outcome.value = joined(0, shares.n_keys)
    world.finish_sends()


def _program_share(
    world: World, payload: tuple[Program[Any], Sequence[Key], Any, int], outcome: Outcome
) -> None:
    program, keys, shared, threads = payload
    link = MpiLink(world, threads)
    try:
        outcome.value, outcome.bytes_sent = run_program(program, keys, shared, threads=threads, link=link)
    except Exception as err:
        outcome.error = (world.rank, as_reported(err))
        link.leave(FAILED)
        return
    try:
        link.leave(ENDED)
    except EndedElsewhere as err:
        outcome.error = (world.rank, err)
