"""Object stores on loopback for tests: moto's S3 server and Azurite, each with a bucket and keys of its own."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from places import ROOT
from waiting import until

BUCKET = "tracks"
_NODE = ROOT / "node_modules" / ".bin"
# What users and machines have set, and tests must not go by.
_FOREIGN = ("AWS_", "AZURE_", "BOTO_")


def clean() -> dict[str, str]:
    """This process's environment without a word of object stores."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


class Store(ABC):
    """A running store.

    Attributes
    ----------
    kind
        s3 or azure.
    url
        Of the bucket.
    port
        On loopback.
    """

    kind: str
    url: str

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def start(self, command: list[str], directory: Path, **variables: str) -> Iterator[Store]:
        with (directory / f"{self.kind}.log").open("wb") as log:
            server = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env=clean() | variables,
            )
        try:
            until(lambda: server.poll() is not None or answers(self.port), f"the {self.kind} server")
            assert server.poll() is None, (directory / f"{self.kind}.log").read_text()
            self.prepare()
            yield self
        finally:
            server.terminate()
            server.wait(timeout=20)

    @abstractmethod
    def prepare(self) -> None:
        """Make keys and the bucket."""

    @abstractmethod
    def environment(self, *, port: int | None = None, wrong_key: bool = False) -> dict[str, str]:
        """Variables by which clients find the store and their keys."""

    @property
    @abstractmethod
    def secret(self) -> str:
        """What is to stand in no file."""


class S3(Store):
    """moto's server; it checks keys and signatures once the first four requests have made a user and the bucket."""

    kind = "s3"
    url = f"s3://{BUCKET}"

    @staticmethod
    def missing() -> str:
        absent = [name for name in ("moto", "flask", "s3fs", "boto3") if find_spec(name) is None]
        return f"{', '.join(absent)} not installed with this Python" if absent else ""

    @classmethod
    def run(cls, directory: Path) -> Iterator[Store]:
        store = cls()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store.port)]
        yield from store.start(command, directory, INITIAL_NO_AUTH_ACTION_COUNT="4")

    def prepare(self) -> None:
        import boto3

        nobody: dict[str, Any] = {
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "region_name": "us-east-1",
            "aws_access_key_id": "nobody",
            "aws_secret_access_key": "nothing",
        }
        users = boto3.client("iam", **nobody)
        users.create_user(UserName="tester")
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        users.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=document)
        self._key = users.create_access_key(UserName="tester")["AccessKey"]
        boto3.client("s3", **nobody).create_bucket(Bucket=BUCKET)

    def environment(self, *, port: int | None = None, wrong_key: bool = False) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": self._key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": "wrong" if wrong_key else self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def secret(self) -> str:
        return str(self._key["SecretAccessKey"])


class Azure(Store):
    """Azurite in memory."""

    kind = "azure"
    url = f"abfs://{BUCKET}"

    def __init__(self) -> None:
        super().__init__()
        self._secret = base64.b64encode(os.urandom(64)).decode()

    @staticmethod
    def program() -> str | None:
        return shutil.which("azurite-blob") or shutil.which("azurite-blob", path=str(_NODE))

    @classmethod
    def missing(cls) -> str:
        if find_spec("adlfs") is None:
            return "adlfs not installed with this Python"
        return (
            ""
            if cls.program()
            else "azurite-blob is neither on the PATH nor in node_modules (npm install azurite)"
        )

    @classmethod
    def run(cls, directory: Path) -> Iterator[Store]:
        store = cls()
        command = [str(cls.program()), "--blobHost", "127.0.0.1", "--blobPort", str(store.port)]
        command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        yield from store.start(command, directory, AZURITE_ACCOUNTS=f"tester:{store.secret}")

    def prepare(self) -> None:
        from azure.storage.blob import BlobServiceClient

        variables = self.environment()
        with BlobServiceClient.from_connection_string(
            variables["AZURE_STORAGE_CONNECTION_STRING"]
        ) as service:
            service.create_container(BUCKET)

    def environment(self, *, port: int | None = None, wrong_key: bool = False) -> dict[str, str]:
        key = base64.b64encode(b"wrong").decode() if wrong_key else self.secret
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": "tester",
            "AccountKey": key,
            "BlobEndpoint": f"http://127.0.0.1:{port or self.port}/tester",
        }
        return {
            "AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())
        }

    @property
    def secret(self) -> str:
        return self._secret


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def failing_proxy(port: int, failures: int) -> Iterator[tuple[int, list[int]]]:
    """A server that says 503 to its first requests, and passes on the others: its port, and the answers it gave."""
    given: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if len(given) < failures:
                status, headers, answer = 503, [], b""
            else:
                there = HTTPConnection("127.0.0.1", port)
                there.request(self.command, self.path, body, dict(self.headers))
                response = there.getresponse()
                status, headers, answer = response.status, response.getheaders(), response.read()
                there.close()
            given.append(status)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], given
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
