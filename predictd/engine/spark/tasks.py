"""What runs on executors.

Errors of predictd do not fail a Spark task, which would be tried three times more and end in a Java trace: they travel
to the driver in an accumulator, together with what the tasks used.
"""

from __future__ import annotations

import os
import pickle
import socket
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark import Accumulator, AccumulatorParam, BarrierTaskContext

from predictd import interrupt, progress
from predictd.engine.base import (
    Array,
    Key,
    join_subtrees,
    run_task,
    sum_subtree,
)
from predictd.engine.meeting import ENDED, FAILED, EndedElsewhere, as_reported, run_program
from predictd.engine.spark.mesh import Address, Listener, PeerLost, TcpLink, connect, hear
from predictd.engine.spark.shared_paths import MarkerFile, look
from predictd.errors import PredictdError, WorkerError
from predictd.provenance import peak_memory
from predictd.wording import one_line, short

Node = tuple[int, int]


@dataclass
class Notes:
    """What tasks report besides their results.

    Attributes
    ----------
    errors
        By position of the key or rank of the worker.
    bytes_sent
        Of arrays, to other tasks.
    peak_memory_bytes
        The largest of their processes.
    """

    errors: dict[int, Exception] = field(default_factory=dict)
    bytes_sent: int = 0
    peak_memory_bytes: int = 0


class NotesParam(AccumulatorParam[Notes]):
    """How Spark puts notes together."""

    def zero(self, value: Notes) -> Notes:
        """Notes of nothing."""
        return Notes()

    def addInPlace(self, value1: Notes, value2: Notes) -> Notes:
        """Add the notes of another task to the first ones."""
        value1.errors |= value2.errors
        value1.bytes_sent += value2.bytes_sent
        value1.peak_memory_bytes = max(value1.peak_memory_bytes, value2.peak_memory_bytes)
        return value1


@dataclass(frozen=True)
class Work:
    """What the tasks of a job have in common.

    Attributes
    ----------
    pickled
        Task and shared as of `Engine.map`, or what a program takes: they may open files when they are unpickled, by
        paths that mean nothing before `begin`.
    directory
        Of the driver: relative paths mean the same here, where there is such a directory.
    notes
        See `Notes`.
    marker_files
        Files that the executor must see as the driver does.
    """

    pickled: bytes
    directory: str
    notes: Accumulator[Notes]
    marker_files: tuple[MarkerFile, ...]

    def begin(self) -> Any:
        """Go where the driver is, look around, and unpickle; a process of an executor runs one task at a time."""
        if Path(self.directory).is_dir():
            os.chdir(self.directory)
        # Executors that come later, or in the place of lost ones, may be on other hosts.
        for marker_file in self.marker_files:
            look(marker_file)
        return pickle.loads(self.pickled)


def map_keys(work: Work, rows: Iterator[tuple[int, Key]]) -> Iterator[bytes]:
    """Pickled results; empty ones where an error has been noted."""
    for index, key in rows:
        notes = Notes()
        result = b""
        try:
            task, shared = work.begin()
            value = run_task(task, key, shared)
            result = _travelling(value, f"{task.__name__} at {short(key)}")
        except PredictdError as err:
            notes.errors[index] = as_reported(err)
        notes.peak_memory_bytes = peak_memory()
        work.notes.add(notes)
        yield result


def _travelling(value: Any, what: str) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as err:
        raise WorkerError(f"{what}: the result cannot travel: {one_line(err)}") from err


def sum_keys(work: Work, rows: Iterator[tuple[Node, list[Key]]]) -> Iterator[tuple[Node, Array | None]]:
    """Sums of whole subtrees; None where an error has been noted."""
    for node, keys in rows:
        notes = Notes()
        total = None
        try:
            task, shared = work.begin()
            total = sum_subtree(keys, (task, shared))
        except PredictdError as err:
            notes.errors[node[0]] = as_reported(err)
        notes.peak_memory_bytes = peak_memory()
        work.notes.add(notes)
        yield node, total


def under_parent(starts: Sequence[int], row: tuple[Node, Array | None]) -> tuple[int, Any]:
    """A sum with the number of the node above it, given where those begin."""
    return bisect(starts, row[0][0]) - 1, row


def join_sums(
    nodes: Sequence[Node], accumulator: Accumulator[Notes], rows: Iterator[tuple[int, Any]]
) -> Iterator[tuple[Node, Array | None]]:
    """Sums of the nodes above, from those that have been brought here."""
    below: dict[int, dict[Node, Array]] = {}
    for number, (node, total) in rows:
        below.setdefault(number, {})[node] = total
    for number, sums in below.items():
        if any(total is None for total in sums.values()):
            yield nodes[number], None
        else:
            accumulator.add(Notes(bytes_sent=sum(total.nbytes for total in sums.values())))
            yield nodes[number], join_subtrees(sums, *nodes[number])


@dataclass(frozen=True)
class Cast:
    """Who takes part in a program.

    Attributes
    ----------
    size
        Workers.
    token
        What they know each other by.
    relay
        Where the driver passes signals on.
    """

    size: int
    token: bytes
    relay: Address


def run_worker(work: Work, cast: Cast, rows: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """One worker's rank and pickled result of a program; empty where an error has been noted.

    An error of the program ends all workers with a word. Where one has gone without, PeerLost fails the task, and Spark
    starts the whole stage again.
    """
    context = BarrierTaskContext.get()
    rank = context.partitionId()
    # The executor's own, as the others know it.
    host = context.getTaskInfos()[rank].address.rpartition(":")[0].strip("[]") or socket.gethostname()
    listener = Listener(host, cast.token, backlog=cast.size)
    addresses = [_address(text) for text in context.allGather(f"{host} {listener.address[1]}")]
    notes = Notes()
    result = b""
    with (
        closing(TcpLink(rank, cast.size, listener, addresses, cast.token)) as link,
        closing(connect(cast.relay, cast.token, rank)) as driver,
        interrupt.relayed() as note,
        progress.within_task(),
    ):
        hear(driver, note)
        try:
            program, keys, shared = work.begin()
            results, notes.bytes_sent = run_program(program, keys, shared, threads=1, link=link)
            result = _travelling(results[0], f"{program.__name__} of worker {rank}")
            link.leave(ENDED)
        except PeerLost:
            raise
        except EndedElsewhere as err:
            notes.errors[rank] = err
        except Exception as err:
            notes.errors[rank] = as_reported(err)
            link.leave(FAILED)
    notes.peak_memory_bytes = peak_memory()
    work.notes.add(notes)
    yield rank, b"" if notes.errors else result


def _address(text: str) -> Address:
    host, port = text.split()
    return host, int(port)
