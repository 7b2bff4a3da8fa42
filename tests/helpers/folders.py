"""What is in folders: names, bytes, and whether two have the same."""

from __future__ import annotations

from pathlib import Path


def names(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def contents(path: Path) -> dict[str, bytes]:
    """Everything but run.json, which holds times."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "run.json"
    }


def same_files(one: Path, other: Path) -> list[str]:
    """Names of files below two directories, which have the same bytes but for run.json."""
    names = [
        sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        for root in (one, other)
    ]
    assert names[0] == names[1]
    compared = (name for name in names[0] if Path(name).name != "run.json")
    # Names alone: pytest takes minutes to show how large files differ.
    different = [name for name in compared if (one / name).read_bytes() != (other / name).read_bytes()]
    assert not different
    return names[0]
