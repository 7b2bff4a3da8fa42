"""Wheels of what is installed here, so that pip can install it elsewhere without an index."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What is not read before there are data, and is half of it all.
LEFT_OUT = {"__pycache__", "tests", "plugins"}


def closure(*wanted: str) -> list[metadata.Distribution]:
    """The distributions of requirements such as `predictd[mpi]`, and of what these require."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        distribution = metadata.distribution(name)
        if name in found and not requirement.extras:
            continue
        found[name] = distribution
        for text in distribution.requires or []:
            below = Requirement(text)
            extras = requirement.extras or {""}
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(below)
    return list(found.values())


def wheel(distribution: metadata.Distribution) -> tuple[str, bytes]:
    """Name and content of a wheel that installs the same files but for those left out."""
    tag = next(
        line.removeprefix("Tag: ")
        for line in (distribution.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag: ")
    )
    stem = f"{distribution.metadata['Name'].replace('-', '_').replace('.', '_')}-{distribution.version}"
    scripts = {entry.name for entry in distribution.entry_points if entry.group == "console_scripts"}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in distribution.files or []:
            path = Path(str(distribution.locate_file(file)))
            parts = list(file.parts)
            if LEFT_OUT & set(parts) or not path.is_file():
                continue
            # What an installation puts outside site-packages is found in a wheel below NAME.data/data.
            if ".." in parts:
                if file.name in scripts:
                    continue
                place = Path(os.path.normpath(path)).relative_to(sys.prefix)
                parts = [f"{stem}.data", "data", *place.parts]
            elif parts[0].endswith(".dist-info"):
                if file.name in ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD"):
                    continue
                parts[0] = f"{stem}.dist-info"
            archive.write(path, str(PurePosixPath(*parts)))
        # pip writes a list of its own.
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return f"{stem}-{tag}.whl", content.getvalue()


def wheelhouse(path: Path, *wanted: str) -> None:
    """Write a .tar.gz of the wheels that requirements need."""
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for distribution in closure(*wanted):
            name, content = wheel(distribution)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
