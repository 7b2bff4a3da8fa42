"""What the workers of SGD put together, each of them a share: averages that end a round, and sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictd.engine import Communicator
from predictd.model.cp.sgd import Rows, merge

Bytes = npt.NDArray[np.uint8]


def average_rows(comm: Communicator, made: Sequence[Rows], before: Sequence[Rows]) -> list[Rows]:
    """What all workers made of the same rows, averaged as `model.sgd.merge` does, on every worker.

    Each worker averages a share of the rows, which it has from all others, and all gather the shares: a worker sends
    2 (size − 1) / size of the rows, where gathering everybody's rows would take size − 1. Two exchanges, whatever the
    number of blocks.

    Parameters
    ----------
    comm
        Of the workers.
    made, before
        Blocks of rows of the same width, as this worker made them and as all had them before.

    Returns
    -------
    list of Rows
        Block by block, copies.
    """
    n_rows = sum(len(rows) for rows in made)
    share = -(-n_rows // comm.size)

    def divided(blocks: Sequence[Rows]) -> Bytes:
        """Rows as bytes by the worker that averages them: (size, share, bytes of a row); filled up with zeros."""
        packed = np.concatenate([_to_bytes(rows) for rows in blocks])
        filled = np.pad(packed, [(0, comm.size * share - n_rows), (0, 0)])
        return filled.reshape(comm.size, share, -1)

    copies = [_from_bytes(packed, made[0]) for packed in comm.alltoall(divided(made))]
    merged = merge(copies, _from_bytes(divided(before)[comm.rank], made[0]))
    packed = comm.allgather(_to_bytes(merged)).reshape(comm.size * share, -1)[:n_rows]
    borders = np.cumsum([len(rows) for rows in made])[:-1]
    return [_from_bytes(block, made[0]).copy() for block in np.split(packed, borders)]


def add_up(comm: Communicator, own: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sum of every worker's matrix, on every worker, with the same bits: added in rank order.

    Each worker adds a share of the rows, as in `average_rows`: it sends and holds about two matrices, where gathering
    everybody's would take as many as there are workers.
    """
    share = -(-len(own) // comm.size)
    filled = np.pad(own, [(0, comm.size * share - len(own)), (0, 0)])
    added = comm.alltoall(filled.reshape(comm.size, share, -1)).sum(axis=0)
    return comm.allgather(added).reshape(comm.size * share, -1)[: len(own)]


def _to_bytes(rows: Rows) -> Bytes:
    """Values and scalars of each row: (rows, bytes of a row)."""
    parts = (rows.values.reshape(len(rows), -1), rows.scalars)
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)


def _from_bytes(packed: Bytes, like: Rows) -> Rows:
    values, scalars = np.split(packed, [like.values[:1].nbytes], axis=1)
    return Rows(
        np.ascontiguousarray(values).view(like.values.dtype).reshape(-1, *like.values.shape[1:]),
        np.ascontiguousarray(scalars).view(np.float64),
    )
