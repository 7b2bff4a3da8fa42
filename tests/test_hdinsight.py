"""The template of a cluster of HDInsight, held against Azure's own models, and submit.py against a gateway.

The gateway is a stand-in that speaks Livy's protocol over HTTP: there is no Livy that could be run here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import page_programs
from desk import Asked, Desk
from pages import scripts
from places import ROOT

HDINSIGHT = Path(__file__).resolve().parents[1] / "cloud" / "hdinsight"
SCRIPT = HDINSIGHT / "submit.py"
# The environment that has aws-parallelcluster has azure-mgmt-hdinsight too: both pin what predictd does not.
SCHEMAS = os.environ.get("PREDICTD_CLOUDS_PYTHON", "")
PASSWORD = "not:a secret"


# -- the template -----------------------------------------------------------------------------------------------------


@pytest.fixture
def template() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((HDINSIGHT / "cluster.json").read_text())
    return read


def test_every_name_in_the_template_is_defined_and_used(template):
    text = json.dumps(template)
    for kind in ("parameters", "variables"):
        assert set(re.findall(rf"\b{kind}\('(\w+)'\)", text)) == set(template[kind])
    for expression in re.findall(r'"(\[[^"]*)"', text):
        assert expression.endswith("]") and expression.count("(") == expression.count(")")


def test_no_secret_has_a_default_and_nothing_is_open(template):
    assert template["parameters"]["gatewayPassword"] == {
        **template["parameters"]["gatewayPassword"],
        "type": "securestring",
    }
    assert "defaultValue" not in template["parameters"]["gatewayPassword"]
    assert not any("password" in output["value"].lower() for output in template["outputs"].values())
    cluster = template["resources"][-1]
    properties = cluster["properties"]
    assert properties["minSupportedTlsVersion"] == "1.2"
    assert properties["encryptionInTransitProperties"] == {"isEncryptionInTransitEnabled": True}
    assert "key" not in properties["storageProfile"]["storageaccounts"][0]
    of_type = {
        resource["type"].partition("/")[2]: resource["properties"]
        for resource in template["resources"][:-1]
        if "properties" in resource
    }
    assert not of_type["storageAccounts"]["allowBlobPublicAccess"]
    assert of_type["storageAccounts/blobServices/containers"] == {"publicAccess": "None"}
    rules = [rule["properties"] for rule in of_type["networkSecurityGroups"]["securityRules"]]
    assert {(rule["sourceAddressPrefix"], rule["destinationPortRange"]) for rule in rules} == {
        ("HDInsight", "443"),
        ("[parameters('yourAddress')]", "443"),
    }


MODELS = """
import json, sys
from azure.mgmt.hdinsight import models
sent = json.load(sys.stdin)
print(json.dumps(models.ClusterCreateParametersExtended.deserialize(sent).serialize()))
"""


def filled(value: Any, template: dict[str, Any]) -> Any:
    """A part of the template in which parameters and variables that stand alone have their values."""
    if isinstance(value, dict):
        return {name: filled(part, template) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, template) for part in value]
    if isinstance(value, str) and (found := re.fullmatch(r"\[(parameters|variables)\('(\w+)'\)\]", value)):
        named = template[found[1]][found[2]]
        return filled(named, template) if found[1] == "variables" else named.get("defaultValue", "given")
    return value


@pytest.mark.skipif(
    not SCHEMAS, reason="PREDICTD_CLOUDS_PYTHON names no Python that has azure-mgmt-hdinsight"
)
def test_azure_knows_every_property(template, tmp_path):
    cluster = template["resources"][-1]
    assert cluster["type"] == "Microsoft.HDInsight/clusters"
    sent = {name: filled(cluster[name], template) for name in ("location", "tags", "identity", "properties")}

    def through_the_models(sent: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [SCHEMAS, "-c", MODELS],
            input=json.dumps(sent),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    # The models drop what they do not know, and change what has another type.
    assert through_the_models(sent) == sent
    sent["properties"]["computeProfile"]["roles"][1]["scriptAction"] = []
    assert through_the_models(sent) != sent


# -- submit.py --------------------------------------------------------------------------------------------------------


class Gateway(BaseHTTPRequestHandler):
    """Keeps batches, which pass through given states, one for each look."""

    def do_POST(self) -> None:
        if self._let_in():
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append((self.headers["X-Requested-By"], body))  # type: ignore[attr-defined]
            self._answer(201, {"id": 7, "state": "starting", "appId": None, "log": []})

    def do_GET(self) -> None:
        if self.path.endswith("/9"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.end_headers()
        elif self._let_in():
            states = self.server.states  # type: ignore[attr-defined]
            state = states.pop(0) if len(states) > 1 else states[0]
            log = ["", "\tdiagnostics: User application exited with status 1", " "]
            self._answer(200, {"id": 7, "state": state, "appId": "application_1", "log": log})

    def do_DELETE(self) -> None:
        if self._let_in():
            self._answer(200, {"msg": "deleted"})

    def _let_in(self) -> bool:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        right = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] == f"Basic {right}":
            return True
        self._answer(401, {"msg": "no"})
        return False

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.asked, server.paths, server.states = [], [], ["success"]  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(gateway: ThreadingHTTPServer, tmp_path: Path) -> Run:
    text = (HDINSIGHT / "spark.toml").read_text()
    url = f"http://127.0.0.1:{gateway.server_address[1]}"
    file = tmp_path / "spark.toml"
    file.write_text(
        text.replace("https://CHANGE-ME.azurehdinsight.net", url).replace("CHANGE-ME.dfs", "lab.dfs")
    )

    def run(*words: object, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), "--file", str(file), *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "HDINSIGHT_PASSWORD": password, "PYTHONSAFEPATH": "1"},
            check=False,
        )

    return run


def error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("submit.py: error: ") and PASSWORD not in done.stderr
    return done.stderr


def test_a_batch_from_start_to_end(run, gateway):
    words = ["cv", "abfs://f@lab.dfs.core.windows.net/T", "-o", "a b; $(c)"]
    shown = json.loads(run("show", *words).stdout)
    assert shown["args"] == words
    assert shown["file"] == "abfs://predictd@lab.dfs.core.windows.net/predictd/spark_submit.py"
    done = run("submit", *words)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
    assert gateway.asked == [("admin", shown)]
    gateway.states = ["starting", "running", "running", "success"]
    waited = run("wait", 7, "--every", 0.01)
    assert waited.returncode == 0, waited.stderr
    assert [line.split()[-1] for line in waited.stdout.splitlines()] == ["starting", "running", "success"]
    assert run("cancel", 7).stdout == "deleted\n"
    assert gateway.paths == ["/livy/batches"] + ["/livy/batches/7"] * 5


def test_a_batch_that_fails_is_told(run, gateway):
    gateway.states = ["running", "dead"]
    told = error(run("wait", 7, "--every", 0.01))
    assert "batch 7 is dead: diagnostics: User application exited with status 1" in told
    assert "yarn logs -applicationId application_1" in told


def test_errors_are_one_line(run, gateway, tmp_path):
    assert "401 Unauthorized; is HDINSIGHT_PASSWORD right?" in error(run("submit", "cv", password="guess"))
    # The password does not follow to where an answer points.
    assert "302" in error(run("wait", 9)) and "/elsewhere" not in gateway.paths
    assert "give a command of predictd" in error(run("submit"))
    file = tmp_path / "spark.toml"
    filled = file.read_text()
    file.write_text(filled.replace(f":{gateway.server_address[1]}", ":1"))
    assert "Connection refused; is the cluster there?" in error(run("wait", 7))
    file.write_text(filled.replace("http://127.0.0.1", "http://lab.example"))
    assert "only https:// keeps the password secret" in error(run("wait", 7))
    file.write_text((HDINSIGHT / "spark.toml").read_text())
    assert "gateway is still CHANGE-ME" in error(run("wait", 7))
    file.write_text(filled.replace("[batch]", "[batch"))
    assert "spark.toml: " in error(run("wait", 7))


def test_commands_run_as_printed(gateway, tmp_path):
    """Those of the page, at the gateway."""
    page_programs.lay_out(tmp_path)
    file = tmp_path / "cloud" / "hdinsight" / "spark.toml"
    url = f"http://127.0.0.1:{gateway.server_address[1]}"
    file.write_text(
        file.read_text().replace("https://CHANGE-ME.azurehdinsight.net", url).replace("CHANGE-ME.", "lab.")
    )

    def python(asked: Asked) -> str:
        assert asked.words[1] == "submit"
        page_programs.parse_predictd(asked.words[2:])
        done = subprocess.run(
            [sys.executable, *asked.words], cwd=asked.cwd, env=dict(asked.variables), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    desk = Desk(tmp_path / "bin", {**page_programs.CHECKED, "python": python})
    key = desk.folder / ".ssh" / "id_ed25519.pub"
    key.parent.mkdir()
    key.touch()
    for name in ("env.tar.gz",):
        (tmp_path / name).touch()
    for shell, text in scripts(ROOT / "docs/hdinsight.md"):
        desk.run(
            shell, text, tmp_path, HDINSIGHT_PASSWORD=PASSWORD, D="lab.dfs.core.windows.net", A="192.0.2.1"
        )
    assert [body["args"][0] for _, body in gateway.asked] == ["ingest", "cv", "impute"]
