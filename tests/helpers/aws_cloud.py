"""An emulator of AWS in this process, and what botocore's description of an API refuses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from desk import Asked

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
VARIABLES = {
    **{name.upper(): value for name, value in KEYS.items()},
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
needs_emulator = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("boto3", "moto", "flask")),
    reason="moto[server] is not installed",
)

AWS = Path(os.environ.get("PREDICTD_CLOUDS_PYTHON", "")).parent / "aws"
needs_aws_program = pytest.mark.skipif(
    not AWS.is_file(), reason="PREDICTD_CLOUDS_PYTHON names no Python that has awscli"
)


def aws_program(asked: Asked) -> str:
    """Run the AWS command line, which compares its words with the APIs' descriptions, as a page asks for it."""
    done = subprocess.run(
        [str(AWS), *asked.words],
        cwd=asked.cwd,
        env=dict(asked.variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def emulator(address: str = "127.0.0.1") -> Iterator[str]:
    """URL of an emulator on a port of its own; jobs of Batch do not start containers."""
    from moto.core.config import default_user_config
    from moto.server import ThreadedMotoServer

    default_user_config["batch"] = {"use_docker": False}
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client(service: str, url: str) -> Any:
    """A client of a service of the emulator."""
    import boto3

    return boto3.client(service, region_name="us-east-1", endpoint_url=url, **KEYS)


def problems(service: str, operation: str, sent: dict[str, Any]) -> list[str]:
    """What botocore's description of an operation refuses in a request, values of enumerations included."""
    import botocore.session
    from botocore.validate import ParamValidator

    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(sent, shape)
    found = [report.generate_report()] if report.has_errors() else []

    def look(value: Any, shape: Any, where: str) -> None:
        if shape.type_name == "structure" and isinstance(value, dict):
            for name, part in value.items():
                if name in shape.members:
                    look(part, shape.members[name], f"{where}.{name}")
        elif shape.type_name == "list" and isinstance(value, list):
            for number, part in enumerate(value):
                look(part, shape.member, f"{where}[{number}]")
        elif shape.type_name == "string" and shape.enum and value not in shape.enum:
            found.append(f"{where}: {value} is not one of {shape.enum}")

    look(sent, shape, operation)
    return found
