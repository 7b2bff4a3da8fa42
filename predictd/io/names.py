"""What names of files and addresses say: kinds, and secrets that are not to be repeated."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from predictd.errors import ConfigError, TableError
from predictd.io.remote import as_path, is_remote, scheme_of

URL_SCHEMES = ("http://", "https://")
BIGWIG_SUFFIXES = (".bw", ".bigwig")
# bedGraph, and wiggle.
_TEXT_SUFFIXES = (".bedgraph", ".bdg", ".bg", ".wig", ".wiggle")
_PACKED = (".gz", ".bgz")
# Parameters of addresses that name a file, as NCBI GEO's do; of others it is not known whether they are secrets.
_HARMLESS = {"acc", "accession", "file", "filename", "format", "id", "name", "v", "version"}
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_DATABASE = re.compile(r"(\w[\w+.-]*://)(?:[^:/]*(?::[^@]*)?@)?([^/?]*)([^?]*).*", re.DOTALL)


def has_suffix(name: str | Path, suffixes: tuple[str, ...], *, packed: bool = False) -> bool:
    """Whether a path or an address has one of these suffixes (lower case), in any case.

    Parameters
    ----------
    name
        Of an address that ends with parameters (`?X-Amz-Signature=…`), what is before them counts, too.
    suffixes
        In lower case.
    packed
        A .gz or .bgz may follow.
    """
    text = str(name).lower()
    places = [text, text.partition("?")[0].partition("#")[0]] if text.startswith(URL_SCHEMES) else [text]
    endings = (*suffixes, *(suffix + end for suffix in suffixes for end in _PACKED)) if packed else suffixes
    return any(place.endswith(endings) for place in places)


def is_bigwig(name: str | Path) -> bool:
    """Whether a file is a bigWig by its name."""
    return has_suffix(name, BIGWIG_SUFFIXES)


def is_bedgraph(name: str | Path) -> bool:
    """Whether a file is a bedGraph or a wiggle file by its name, packed or not."""
    return has_suffix(name, _TEXT_SUFFIXES, packed=True)


def without_secrets(path: str) -> str:
    """A path, or an address without the password and the parameters that let one in (presigned URLs)."""
    if not path.startswith(URL_SCHEMES):
        return path
    parts = urlsplit(path)
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key.lower() in _HARMLESS]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(kept), ""))


def storage_without_secrets(storage: str) -> str:
    """A storage for messages and files: a database URL without user, password and parameters."""
    if "://" not in storage:
        return storage
    # As SQLAlchemy reads it, whose passwords may have all characters but @.
    found = _DATABASE.fullmatch(storage)
    return f"{found[1]}{found[2].rpartition('@')[2]}{found[3]}" if found else "a database"


def argument_without_secrets(argument: str) -> str:
    """An argument of a command line; an address in it is without user, password and parameters that let one in."""
    found = _SCHEME.search(argument)
    if found is None:
        return argument
    before, scheme, rest = argument[: found.start()], found[0], argument[found.end() :]
    hidden = f"{before}{scheme}…"
    if "://" in rest:
        return hidden
    try:
        lower = f"{scheme.lower()}{rest}"
        web = lower.startswith(URL_SCHEMES)
        return before + (without_secrets(lower) if web else storage_without_secrets(f"{scheme}{rest}"))
    except ValueError:
        return hidden


def path_in_table(target: str, directory: Path, where: str = "") -> str:
    """Where a path leads that a table in this directory gives: absolute, or in an object store.

    `~` and environment variables stand for what they do in a shell. Directories are followed through links; a file that
    is a link keeps its own name, since its suffix tells what it is (Nextflow, DVC and git-annex link to names without).

    Raises
    ------
    TableError
        If it is an address of a kind that is not read, or of a store that cannot be used; says `where`.
    """
    try:
        path = as_path(target if scheme_of(target) else os.path.expandvars(target))
    except ConfigError as err:
        raise TableError(f"{where}: {err}" if where else str(err)) from err
    if is_remote(str(path)):
        return str(path.resolve())
    # There may be no user of that name.
    with suppress(RuntimeError):
        path = path.expanduser()
    path = directory / path
    return str(path.parent.resolve() / path.name)
