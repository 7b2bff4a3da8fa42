"""What MPI finds where the ranks of a node share memory: without it MPI dies, and does not say of what."""

from __future__ import annotations

import ctypes
import logging
import os

from predictd.launcher import announced

log = logging.getLogger(__name__)

# MPICH 5 has 5 MB for each rank of a node, and crashes where it finds a little more than that.
_RANK_BYTES = 8 * 2**20
_SHARED = "/dev/shm"


def prepare() -> None:
    """Before MPI starts: keep MPICH from what is forbidden here, and warn, once, of too little shared memory."""
    if not may_read_memory():
        # From version 5 MPICH reads the memory of other ranks. It looks whether the system's own settings (Yama) let
        # it, but not at what containers forbid, and ends with "process_vm_readv failed" at the first long message.
        os.environ.setdefault("MPIR_CVAR_CH4_CMA_ENABLE", "0")
    process = announced()
    if process is None or process.rank:
        return
    here = os.environ.get("MPI_LOCALNRANKS", "")
    ranks = int(here) if here.isdigit() else process.size
    try:
        disk = os.statvfs(_SHARED)
    except OSError:
        return
    free = disk.f_bavail * disk.f_frsize
    if free < ranks * _RANK_BYTES:
        log.warning(
            "%s has %.0f MB free for %d ranks, and MPI may crash with less than %.0f (bus error, segmentation fault): "
            "give a container more (docker run --shm-size=1g), or start fewer ranks",
            _SHARED,
            free / 2**20,
            ranks,
            ranks * _RANK_BYTES / 2**20,
        )


def may_read_memory() -> bool:
    """Whether the system call by which processes read each other's memory is allowed at all (Linux)."""
    try:
        call = ctypes.CDLL(None, use_errno=True).process_vm_readv
    except (AttributeError, OSError):
        return True
    source, target = ctypes.create_string_buffer(1), ctypes.create_string_buffer(1)
    pieces = [(ctypes.c_size_t * 2)(ctypes.addressof(buffer), 1) for buffer in (target, source)]
    size = ctypes.c_ulong(1)
    call.restype = ctypes.c_ssize_t
    return bool(call(os.getpid(), pieces[0], size, pieces[1], size, ctypes.c_ulong(0)) == 1)
