"""Run a pipeline of predictd on this machine by the local mode of SageMaker's SDK (sagemaker<3), with Docker Compose.

python cloud/sagemaker/local.py PIPELINE.json NAME=VALUE ...

PIPELINE.json names the image, as docs/sagemaker.md fills it in. Containers get AWS_ENDPOINT_URL of this process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from sagemaker.local import LocalSession
from sagemaker.local.image import _SageMakerContainer

compose = _SageMakerContainer._compose


def compose_all(container: Any, detached: bool = False) -> list[str]:
    """Have Compose wait for all hosts, as SageMaker does; the SDK's words stop the others when one has ended."""
    words = compose(container, detached)
    many = container.instance_count > 1
    return [word for word in words if not (many and word == "--abort-on-container-exit")]


def filled(value: Any, parameters: dict[str, Any]) -> Any:
    """A part of the definition with the parameters put in."""
    if isinstance(value, list):
        return [filled(one, parameters) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Get"}:
        return parameters[value["Get"].removeprefix("Parameters.")]
    if set(value) == {"Std:Join"}:
        return value["Std:Join"]["On"].join(filled(value["Std:Join"]["Values"], parameters))
    return {key: filled(one, parameters) for key, one in value.items()}


def main() -> None:
    """Run the steps one after the other."""
    definition = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    parameters = {one["Name"]: one.get("DefaultValue") for one in definition["Parameters"]}
    parameters |= dict(word.split("=", 1) for word in sys.argv[2:])
    parameters |= {"Hosts": int(parameters["Hosts"]), "Instance": "local"}
    session = LocalSession(boto3.Session())
    session.sagemaker_config = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    _SageMakerContainer._compose = compose_all
    places = {
        name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION") if name in os.environ
    }
    for step in definition["Steps"]:
        request = filled(step["Arguments"], parameters)
        request["Environment"] = request.get("Environment", {}) | places
        container = request.get("AlgorithmSpecification") or request["AppSpecification"]
        # Compose would put variables of its own in the place of these.
        container["ContainerArguments"] = [
            word.replace("$", "$$") for word in container["ContainerArguments"]
        ]
        kind, name = step["Type"].lower(), f"{step['Name']}-{int(time.time())}"
        print(f"== {name}", flush=True)
        create = getattr(session.sagemaker_client, f"create_{kind}_job")
        create(**{f"{step['Type']}JobName": name}, **request)


main()
