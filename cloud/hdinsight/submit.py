#!/usr/bin/env python3
"""Give a cluster of HDInsight work for predictd, through Livy behind the cluster's gateway.

    submit.py submit cv abfs://…/T -o abfs://…/cv    the words of `predictd`; prints the batch's id
    submit.py wait ID                                until it has ended
    submit.py cancel ID
    submit.py show cv abfs://…/T -o abfs://…/cv      what submit sends

Everything about the batch is in spark.toml, beside this file or named with --file. The password of the gateway's user
admin is read from HDINSIGHT_PASSWORD, or asked for.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
UNFILLED = "CHANGE-ME"
USER = "admin"
SECONDS = 60.0
BAD = ("dead", "error", "killed")


class Problem(Exception):
    """What ends a command, told in one line."""


class Definition:
    """Gateway and batch as a file describes them.

    Parameters
    ----------
    path
        A file like spark.toml.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                read = tomllib.load(file)
            self.gateway, self.files = (
                read["account"]["gateway"].rstrip("/"),
                read["account"]["files"].rstrip("/"),
            )
            self._batch = read["batch"]
        except OSError as err:
            raise Problem(f"{path}: {err.strerror}") from err
        except tomllib.TOMLDecodeError as err:
            raise Problem(f"{path}: {err}") from err
        except KeyError as err:
            raise Problem(f"{path}: {err.args[0]} is missing") from err
        for name, value in (("gateway", self.gateway), ("files", self.files)):
            if UNFILLED in value:
                raise Problem(f"{path}: {name} is still {UNFILLED}; give your own")
        where = urllib.parse.urlsplit(self.gateway)
        if where.scheme != "https" and where.hostname not in ("127.0.0.1", "localhost"):
            raise Problem(f"{path}: gateway {self.gateway}: only https:// keeps the password secret")

    def batch(self, words: Sequence[str]) -> dict[str, Any]:
        """Body of the request that runs predictd with these words: a list all the way, which no shell reads."""
        if not words:
            raise Problem("give a command of predictd")
        places = {name: value for name, value in self._batch.items() if isinstance(value, str)}
        texts = {name: value.replace("{files}", self.files) for name, value in places.items()}
        return {**self._batch, **texts, "name": f"predictd {words[0]}", "args": list(words)}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The password goes to the gateway alone."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Livy:
    """Livy's batches behind a gateway."""

    def __init__(self, definition: Definition) -> None:
        self._url = f"{definition.gateway}/livy/batches"
        password = os.environ.get("HDINSIGHT_PASSWORD") or getpass.getpass(f"password of {USER}: ")
        self._key = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, method: str, path: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {self._key}",
                "Content-Type": "application/json",
                "X-Requested-By": USER,
            },
        )
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                told: dict[str, Any] = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as err:
            said = " ".join(err.read(2000).decode(errors="replace").split())[:300]
            hint = "; is HDINSIGHT_PASSWORD right?" if err.code in (401, 403) else ""
            raise Problem(f"{self._url}{path}: {err.code} {err.reason}{hint} {said}".rstrip()) from err
        except (OSError, http.client.HTTPException) as err:
            raise Problem(
                f"{self._url}{path}: {getattr(err, 'reason', None) or err}; is the cluster there?"
            ) from err
        except ValueError as err:
            raise Problem(
                f"{self._url}{path}: the answer is not JSON; is this a gateway of HDInsight?"
            ) from err
        return told

    def wait(self, number: str, seconds: float) -> None:
        """Tell each change of state until the batch has ended; Problem if it has failed."""
        told = ""
        while True:
            batch = self.ask("GET", f"/{number}")
            state, application = batch["state"], batch.get("appId") or ""
            if state != told:
                print(f"{number} {application} {state}", flush=True)
                told = state
            if state == "success":
                return
            if state in BAD:
                last = next((line for line in reversed(batch.get("log", [])) if line.strip()), "").strip()
                raise Problem(
                    f"batch {number} is {state}: {last or 'nothing was told'}; predictd's own message is in "
                    f"`yarn logs -applicationId {application or 'ID'}` on the cluster; the same words submitted again "
                    "go on from there"
                )
            time.sleep(seconds)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--file", type=Path, default=HERE / "spark.toml", help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("show", "submit"):
        commands.add_parser(name).add_argument(
            "words", nargs=argparse.REMAINDER, help="predictd's command and its options"
        )
    commands.add_parser("cancel").add_argument("batch", type=int)
    waiting = commands.add_parser("wait")
    waiting.add_argument("batch", type=int)
    waiting.add_argument("--every", type=float, default=15, metavar="SECONDS")
    return parser


def run(given: argparse.Namespace) -> None:
    definition = Definition(given.file)
    match given.command:
        case "show":
            print(json.dumps(definition.batch(given.words), indent=4))
        case "submit":
            print(Livy(definition).ask("POST", body=definition.batch(given.words))["id"])
        case "wait":
            Livy(definition).wait(str(given.batch), given.every)
        case "cancel":
            print(Livy(definition).ask("DELETE", f"/{given.batch}").get("msg", ""))


def main() -> None:
    given = arguments().parse_args()
    try:
        run(given)
    except Problem as err:
        stop(str(err))


def stop(message: str) -> NoReturn:
    print(f"submit.py: error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
