"""The pages of the repository, and the blocks of code that they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from places import ROOT

PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "node_modules" for part in page.relative_to(ROOT).parts)
)
SHELLS = ("bash", "sh", "zsh", "fish")
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_FUNCTION = re.compile(r"^\w+\(\) \{(?:.*\}$|.*\n(?: .*\n)*\}$)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: the line where it begins, its language, and what it prints."""

    line: int
    language: str
    text: str


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages, or all."""
    text = page.read_text(encoding="utf-8")
    found = [Block(text.count("\n", 0, m.start()) + 1, m[2].strip(), m[3]) for m in _FENCE.finditer(text)]
    return [block for block in found if not languages or block.language in languages]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def in_prose(page: Path, program: str) -> Iterator[str]:
    """Commands of a program between backquotes in the text."""
    for found in _CODE.findall(prose(page)):
        command = " ".join(found.split())
        if command.startswith(f"{program} "):
            yield command


def scripts(page: Path) -> list[tuple[str, str]]:
    """The commands of a page in their order: shells, and what is typed in each until another one follows."""
    grouped = groupby(blocks(page, "bash", "sh"), attrgetter("language"))
    return [(shell, "".join(block.text for block in found)) for shell, found in grouped]


def functions(page: Path) -> str:
    """The shell's functions that a page prints, on one line or more."""
    text = "".join(block for _, block in scripts(page))
    return "\n".join(_FUNCTION.findall(text))
