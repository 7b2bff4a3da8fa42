"""The images at work. `containers/test.sh` builds them, starts what is needed, and runs this."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_cloud import VARIABLES, client, emulator
from places import ROOT
from slurm_cluster import SlurmCluster
from waiting import until

pytestmark = [
    pytest.mark.skipif("PREDICTD_CONTAINERS" not in os.environ, reason="containers/test.sh runs these"),
    pytest.mark.timeout(900),
    pytest.mark.services,
]

SLIM, FULL, STORE = (f"predictd-test:{tag}" for tag in ("slim", "predictd", "store"))
SOMEBODY = "4321:4321"
# Nobody's own files, no network, and nothing that can be written but /work and /tmp.
CLOSED = ("--read-only", "--tmpfs", "/tmp:exec", "--network", "none")
FIT = ("--rank", "3", "--lambda", "0.1")


def docker(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def run(image: str, folder: Path, *arguments: object, options: tuple[str, ...] = CLOSED, check: bool = True):
    """`docker run` as a user whom neither the image nor the machine knows."""
    given = ("--rm", "--user", SOMEBODY, *options, "--volume", f"{folder}:/work")
    return docker("run", *given, image, *arguments, check=check)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of that user's with the demo's files, made in the slim image."""
    path = tmp_path_factory.mktemp("work")
    path.parent.chmod(0o755)
    os.chown(path, *map(int, SOMEBODY.split(":")))
    shown = run(SLIM, path, "demo").stdout
    assert "How well the missing experiments were imputed" in shown
    return path


def record(path: Path) -> dict:
    return json.loads(path.read_text())


def test_the_demo_leaves_files_of_the_user_who_ran_it(folder: Path):
    made = list((folder / "predictd-demo").rglob("*"))
    assert any(path.name == "metrics.tsv" for path in made)
    assert {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in made} == {SOMEBODY}


@pytest.mark.parametrize("image", [SLIM, FULL])
def test_what_an_image_holds(image: str):
    shown = docker("inspect", image).stdout
    config = json.loads(shown)[0]["Config"]
    assert config["User"] == "1000:1000"
    assert config["Labels"]["org.opencontainers.image.title"] == "predictd"
    found = docker(
        "run", "--rm", "--entrypoint", "sh", image, "-c", "command -v gcc cc make pip apt-key java; true"
    ).stdout
    assert found.split() == []
    doctor = docker("run", "--rm", image, "doctor").stdout
    assert "kernels      compiled" in doctor
    assert ("pyspark is not installed" in doctor) == (image == SLIM)


@pytest.fixture(scope="module")
def large(folder: Path) -> Path:
    """A folder with a tensor of 72 experiments: what ranks exchange is longer than what MPI copies at once."""
    shape = ("--cells", 12, "--assays", 12, "--bins", 4000, "--as", "tensor")
    run(SLIM, folder, "simulate", "large", *shape)
    return folder


@pytest.mark.parametrize("rights", [(), ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")])
def test_ranks_in_one_container(large: Path, rights: tuple[str, ...]):
    """With the rights that Docker gives, and with the least."""

    def train(name: str) -> tuple[str, ...]:
        return ("train", "large/tensor", *FIT, "-o", f"{name}.h5", "--moments", f"{name}-moments.h5")

    alone, two = f"alone-{len(rights)}", f"two-{len(rights)}"
    run(SLIM, large, *train(alone))
    options = (*CLOSED, *rights, "--entrypoint", "mpiexec")
    done = run(SLIM, large, "-n", 2, "predictd", *train(two), options=options)
    assert "/dev/shm" not in done.stderr
    made = record(large / f"{two}.h5.run.json")
    assert (made["engine"], made["ranks"]) == ("mpi", 2)
    assert (large / f"{two}.h5").read_bytes() == (large / f"{alone}.h5").read_bytes()


def test_little_shared_memory_is_warned_of(large: Path):
    """What becomes of it is MPI's affair."""
    options = (*CLOSED, "--shm-size", "1m", "--entrypoint", "mpiexec")
    done = run(SLIM, large, "-n", 2, "predictd", "info", "large/tensor", options=options, check=False)
    assert "/dev/shm has 1 MB free for 2 ranks" in done.stderr and "--shm-size=1g" in done.stderr


@pytest.mark.parametrize(
    ("option", "cpus"), [("--cpus=1.5", 1), ("--cpuset-cpus=0", 1), ("--memory=4g", os.cpu_count())]
)
def test_a_container_takes_the_cpus_that_it_is_given(option: str, cpus: int):
    code = "from predictd.engine.base import usable_cpus; print(usable_cpus())"
    assert docker("run", "--rm", option, "--entrypoint", "python", SLIM, "-c", code).stdout == f"{cpus}\n"


def test_spark_in_one_container(folder: Path):
    """As a user with a name, which Java wants; without a network Spark has to be told the address."""
    named = folder.parent / "passwd"
    named.write_text(f"somebody:x:{SOMEBODY}::/tmp:/bin/sh\n")
    options = (*CLOSED, "--env", "SPARK_LOCAL_IP=127.0.0.1", "--volume", f"{named}:/etc/passwd:ro")
    fit = ("train", "predictd-demo/tensor", *FIT)
    run(FULL, folder, *fit, "-o", "spark.h5", "--engine", "spark", "--workers", 2, options=options)
    run(FULL, folder, *fit, "-o", "local.h5")
    assert record(folder / "spark.h5.run.json")["engine"] == "spark"
    assert (folder / "spark.h5").read_bytes() == (folder / "local.h5").read_bytes()


def test_spark_for_a_user_without_a_name(folder: Path):
    failed = run(
        FULL, folder, "train", "predictd-demo/tensor", *FIT, "-o", "x.h5", "--engine", "spark", check=False
    )
    assert failed.returncode == 1
    assert "4321" in failed.stderr.splitlines()[-1] and "/etc/passwd" in failed.stderr.splitlines()[-1]


def test_an_output_that_the_user_may_not_write(tmp_path: Path):
    tmp_path.chmod(0o755)
    failed = run(SLIM, tmp_path, "demo", check=False)
    assert failed.returncode == 1
    assert "Permission denied" in failed.stderr.splitlines()[-1]


def test_too_little_memory(folder: Path):
    """Either it fits, or what happened is told."""
    options = (*CLOSED, "--memory", "512m", "--memory-swap", "512m")
    ended = run(SLIM, folder, "demo", "--output", "little", "--workers", 8, options=options, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    if ended.returncode:
        assert "memory" in ended.stderr.splitlines()[-1]


# -- a cluster of containers -------------------------------------------------------------------------------------------


COMPOSE = ("docker-compose", "--file", str(ROOT / "containers" / "compose.yaml"))
IMAGES = {"PREDICTD_IMAGE": FULL, "S3_IMAGE": STORE}


def compose(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMPOSE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **IMAGES},
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def shell(script: str, *, check: bool = True) -> str:
    """What a script in the client's folder prints."""
    asked = ("run", "--rm", "--no-deps", "--entrypoint", "sh", "client", "-c", script)
    return compose(*asked, check=check).stdout.strip()


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    compose("up", "--detach", "master", "worker-1", "worker-2", "store")
    yield
    compose("down", "--volumes", "--timeout", 1)


def test_the_demo_on_a_spark_cluster(services: None):
    shown = compose("run", "--rm", "client").stdout
    assert "How well the missing experiments were imputed" in shown
    listed = compose("run", "--rm", "--no-deps", "client", "info", "s3://demo/predictd/tensor").stdout
    assert "60,000 bins" in listed


SLOW = """[train]
solver = 'als'
rank = 3
lambda = 0.1
[train.als]
max_sweeps = 3000
tolerance = 0
patience = 3000
"""


def test_a_worker_container_that_stops_in_mid_job(services: None):
    """Its tasks run on the other, and the model is the one that one machine makes."""
    simulated = ("--cells", 8, "--assays", 6, "--bins", 4000, "--as", "tensor")
    compose("run", "--rm", "client", "simulate", "s", *simulated)
    shell(f'printf "%s" "{SLOW}" > slow.toml')
    command = ("cv", "s/tensor", "--config", "slow.toml")
    spark = ("--engine", "spark", "--master", "spark://master:7077", "--workers", "2")
    job = subprocess.Popen(
        [*COMPOSE, "run", "--rm", "client", *command, "-o", "cv-spark", *spark],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **IMAGES},
    )

    def working() -> bool:
        assert job.poll() is None, job.communicate()[0]
        models = shell("ls cv-spark/models | wc -l", check=False)
        return models.isdigit() and int(models) >= 2

    until(working, "the first models", 200)
    compose("kill", "worker-2")
    told, _ = job.communicate(timeout=600)
    assert job.returncode == 0, told
    compose("run", "--rm", "--no-deps", "client", *command, "-o", "cv-local", "--engine", "local")
    shell("cmp cv-spark/metrics.tsv cv-local/metrics.tsv && diff -r cv-spark/models cv-local/models")


# -- SageMaker ---------------------------------------------------------------------------------------------------------

SAGEMAKER = os.environ.get("PREDICTD_SAGEMAKER_PYTHON", "")


@pytest.mark.skipif(not SAGEMAKER, reason="PREDICTD_SAGEMAKER_PYTHON names no Python that has sagemaker<3")
def test_a_pipeline_by_the_local_mode_of_sagemaker(tmp_path: Path):
    """Two hosts infer a network; the next steps filter and measure it on Spark."""
    tmp_path.chmod(0o777)
    cloud, image = ROOT / "cloud" / "sagemaker", "predictd-test:sagemaker"
    docker("build", "--file", cloud / "Dockerfile", "--build-arg", f"IMAGE={FULL}", "--tag", image, ROOT)
    definition = (cloud / "network.json").read_text().replace("IMAGE", image).replace("BUCKET", "lab")
    (tmp_path / "network.json").write_text(definition)
    genes = [f"G{gene}" for gene in range(32)]
    draws = random.Random(0)
    rows = [["gene", *(f"s{sample}" for sample in range(20))]]
    rows += [[gene, *(f"{draws.gauss(6, 1):.4f}" for _ in range(20))] for gene in genes]
    (tmp_path / "expression.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    # By the machine's address on a network of containers the store is reached from the others too.
    docker("network", "create", "predictd-test")
    place = docker("network", "inspect", "predictd-test", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with emulator(place.stdout.strip()) as url:
        store = client("s3", url)
        store.create_bucket(Bucket="lab")
        store.upload_file(str(tmp_path / "expression.tsv"), "lab", "expression.tsv")
        given = (
            "Infer=s3://lab/expression.tsv --trees 20",
            "Network=s3://lab/net",
            "Filter=--top 40",
            "Hosts=2",
        )
        done = subprocess.run(
            [SAGEMAKER, cloud / "local.py", tmp_path / "network.json", *given],
            env={**os.environ, **VARIABLES, "AWS_ENDPOINT_URL": url},
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "parts 1,3,5," in done.stdout

        def stored(name: str) -> bytes:
            found: bytes = store.get_object(Bucket="lab", Key=name)["Body"].read()
            return found

        run(FULL, tmp_path, "network", "infer", "expression.tsv", "-o", "net", "--trees", 20)
        assert stored("net/links.tsv") == (tmp_path / "net" / "links.tsv").read_bytes()
        assert stored("net/network.h5") == (tmp_path / "net" / "network.h5").read_bytes()
        run(FULL, tmp_path, "network", "filter", "net", "-o", "strongest.tsv", "--top", 40)
        assert stored("net-strongest/links.tsv") == (tmp_path / "strongest.tsv").read_bytes()
        # The columns that Spark measures.
        assert stored("net-stats/genes.tsv").partition(b"\n")[0].endswith(b"\tpagerank\tcomponent")


# -- Apptainer ---------------------------------------------------------------------------------------------------------


def apptainer_environment(folder: Path) -> dict[str, str]:
    """In a virtual machine's root account Apptainer may not keep one of the capabilities."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return {**inherited, "APPTAINER_DROP_CAPS": "CAP_SYS_RESOURCE", "APPTAINER_BIND": str(folder)}


def test_ranks_in_as_many_containers(folder: Path):
    """Hybrid: the machine's mpiexec starts containers, whose MPI finds the others."""
    done = subprocess.run(
        [
            *("mpiexec", "-n", "2", "apptainer", "exec", os.environ["PREDICTD_SIF"]),
            *("predictd", "train", "predictd-demo/tensor", *FIT, "-o", "sif.h5"),
        ],
        cwd=folder,
        env=apptainer_environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    made = record(folder / "sif.h5.run.json")
    assert (made["engine"], made["ranks"]) == ("mpi", 2)
    run(SLIM, folder, "train", "predictd-demo/tensor", *FIT, "-o", "image.h5")
    assert (folder / "sif.h5").read_bytes() == (folder / "image.h5").read_bytes()


def test_a_batch_script_with_a_sif(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "c") as cluster:
        job = cluster.submit(
            ROOT / "slurm" / "train.sbatch",
            *FIT,
            options=(f"--chdir={folder}", "--ntasks=2", "--cpus-per-task=1"),
            **apptainer_environment(folder),
            TENSOR="predictd-demo/tensor",
            OUTPUT="batch.h5",
            CONTAINER=os.environ["PREDICTD_SIF"],
        )
        (ended,) = cluster.wait(job)
    log = (folder / f"predictd-train-{job}.log").read_text()
    assert ended["JobState"] == "COMPLETED", log
    made = record(folder / "batch.h5.run.json")
    assert (made["engine"], made["ranks"]) == ("mpi", 2)
