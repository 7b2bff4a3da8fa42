"""What Amazon SageMaker puts below /opt/ml on the hosts of a job."""

from __future__ import annotations

import json
from pathlib import Path


def give_host(folder: Path, number: int, hosts: int, config: str = "input/config") -> dict[str, str]:
    """Make a host's folder, of a training job; `config`: of a processing job. Returns the variable that names it."""
    names = [f"algo-{host + 1}" for host in range(hosts)]
    told = {"current_host": names[number], "hosts": names, "network_interface_name": "eth0"}
    for name in (config, "output"):
        (folder / name).mkdir(parents=True)
    (folder / config / "resourceconfig.json").write_text(json.dumps(told))
    return {"SAGEMAKER_BASE_DIR": str(folder)}
