"""Run a command as containers do that keep the memory of one process from the others (seccomp).

`python contained.py COMMAND …`, on Linux; no rights are needed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

# process_vm_readv, by machine.
CALLS = {"x86_64": 310, "aarch64": 270}
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_NOT_PERMITTED, _ALLOWED = 0x00050001, 0x7FFF0000


def forbid(call: int) -> None:
    """From here on, in what this process starts, too, the call fails with EPERM."""
    # Load the number of the call; if it is that one, go on, else skip one; the two answers.
    steps = ((0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, _NOT_PERMITTED), (0x06, 0, 0, _ALLOWED))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for option in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, ctypes.addressof(program), 0, 0)):
        if libc.prctl(option[0], *map(ctypes.c_ulong, option[1:])):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid(CALLS[platform.machine()])
    os.execvp(sys.argv[1], sys.argv[1:])
