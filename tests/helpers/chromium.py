"""A real browser without a window: what a page looks like, what it became, and what it complained of."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing beside the page: no updates, no reports, no name but this machine's own.
_ALONE = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
)


def needs_chromium(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that starts a browser, and skip it where there is none."""
    return pytest.mark.services(pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")(test))


@dataclass(frozen=True)
class Page:
    """What was left of a page when it was done.

    Attributes
    ----------
    dom
        Its elements, as HTML.
    console
        What it wrote to its console, line by line.
    picture
        uint8 (height, width, 3).
    """

    dom: str
    console: list[str]
    picture: np.ndarray


def look_at(url: str, folder: Path, *, seconds: int = 20, size: tuple[int, int] = (1200, 700)) -> Page:
    """Load a page, give it so many seconds of its own time, and look."""
    assert PROGRAM is not None
    png = folder / "page.png"
    done = subprocess.run(
        [
            PROGRAM,
            *_ALONE,
            f"--user-data-dir={folder / 'profile'}",
            f"--virtual-time-budget={1000 * seconds}",
            f"--window-size={size[0]},{size[1]}",
            "--dump-dom",
            f"--screenshot={png}",
            url,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Page(done.stdout, console, read_png(png.read_bytes()))


def read_png(data: bytes) -> np.ndarray:
    """Red, green and blue of a picture of eight bits a channel, without interlacing: uint8 (height, width, 3)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, width, height, channels = 8, b"", 0, 0, 0
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
            channels = {2: 3, 6: 4}[colours]
        elif kind == b"IDAT":
            packed += body
        place += length + 12
    rows = np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(height, 1 + width * channels)
    out = np.zeros((height + 1, width * channels), dtype=np.uint8)
    for index, (kind, row) in enumerate(zip(rows[:, 0], rows[:, 1:], strict=True), start=1):
        out[index] = _unfiltered(int(kind), row, out[index - 1], channels)
    return out[1:].reshape(height, width, channels)[:, :, :3]


def _unfiltered(kind: int, row: np.ndarray, above: np.ndarray, channels: int) -> np.ndarray:
    """A row of pixels from its filtered bytes (PNG specification, section 9)."""
    if kind == 0:
        return row
    if kind == 2:
        return row + above
    values, left = row.reshape(-1, channels), np.zeros(channels, dtype=np.int64)
    if kind == 1:
        return np.cumsum(values, axis=0, dtype=np.uint8).ravel()
    up, corner = above.reshape(-1, channels).astype(np.int64), np.zeros(channels, dtype=np.int64)
    out = np.empty_like(values)
    for index, value in enumerate(values.astype(np.int64)):
        if kind == 3:
            guess = (left + up[index]) // 2
        else:
            base = left + up[index] - corner
            far = np.abs(np.stack([base - left, base - up[index], base - corner]))
            guess = np.choose(far.argmin(axis=0), [left, up[index], corner])
        left = (value + guess) % 256
        corner = up[index]
        out[index] = left
    return out.ravel()
