"""A Slurm of one node for tests: munged, slurmctld and slurmd of their own, in a directory of their own.

Nothing outside the directory is read or written, ports are free ones, and `stop` ends every process that runs under
this cluster, jobs included. Several clusters may run on one machine.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from waiting import PATIENCE_SECONDS, POLL_SECONDS, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue", "sinfo")
# The system's daemons lie where an ordinary user's PATH does not lead.
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
ENDED = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
}

_CONFIGURATION = """\
ClusterName=predictd-tests
# Killed MPI jobs leave shared memory that is named after their number, which no later cluster may use again.
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
# More CPUs and memory than the machine may have, so that any job of a test runs anywhere.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} SocketsPerBoard=1 CoresPerSocket={cpus} RealMemory=100000
PartitionName=debug Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""


def missing_programs() -> list[str]:
    """What of Slurm and munge is not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]


class SlurmCluster:
    """One node that runs jobs; a context manager.

    Parameters
    ----------
    directory
        New and short: a Unix socket's path has at most 107 bytes.
    cpus
        CPUs that the node announces, whatever the machine has.
    """

    def __init__(self, directory: Path, cpus: int = 4) -> None:
        self.directory = directory
        self.cpus = cpus
        self.configuration = directory / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def environment(self, **more: str) -> dict[str, str]:
        """Environment under which Slurm's commands speak to this cluster, free of any surrounding job."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "PMI", "HYDRA", "MPIR_", "OMPI_"))
        }
        return {**inherited, "PATH": SEARCH, "SLURM_CONF": str(self.configuration), **more}

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command such as `squeue` against this cluster; its failure is the caller's to judge."""
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env=self.environment(**variables),
            cwd=self.directory,
        )

    def submit(self, script: Path, *arguments: object, options: Sequence[str] = (), **variables: str) -> str:
        """Id of the job that `sbatch OPTIONS SCRIPT ARGUMENTS` makes."""
        made = self.run("sbatch", "--parsable", *options, script, *arguments, **variables)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says about a job or an array's task, by field; {} if it knows none."""
        shown = self.run("scontrol", "--oneliner", "show", "job", job).stdout
        records = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines() if "JobId=" in line]
        return records[0] if records else {}

    def wait(self, *jobs: str, seconds: float = PATIENCE_SECONDS) -> list[dict[str, str]]:
        """Wait for jobs (an array's tasks as JOB_TASK) to end; what Slurm says about them."""

        def ended(job: str) -> dict[str, str] | None:
            shown = self.show(job)
            return shown if shown.get("JobState") in ENDED else None

        return [until(lambda job=job: ended(job), f"the end of job {job}", seconds) for job in jobs]

    def start(self) -> None:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        (self.directory / "munge").mkdir(mode=0o700, parents=True)
        for name in ("state", "spool"):
            (self.directory / name).mkdir()
        key = self.directory / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        controller_port, node_port = _free_ports(2)
        self.configuration.write_text(
            _CONFIGURATION.format(
                host=host,
                first_job=1 + secrets.randbelow(60_000_000),
                user=_user(),
                controller_port=controller_port,
                node_port=node_port,
                directory=self.directory,
                cpus=self.cpus,
            )
        )
        munge = self.directory / "munge"
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={munge}/socket",
            f"--pid-file={munge}/pid",
            f"--log-file={munge}/log",
            f"--seed-file={munge}/seed",
        )
        until((munge / "socket").exists, "munged's socket")
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-c")

        def ready() -> bool:
            for daemon in self._daemons:
                assert daemon.poll() is None, f"{daemon.args} ended: {self._logs()}"
            return self.run("sinfo", "--noheader", "-o", "%T").stdout.strip() == "idle"

        until(ready, "an idle node")

    def _daemon(self, *command: str) -> None:
        with (self.directory / f"{command[0]}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=self.environment(),
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the tests, which then stop the daemons
                )
            )

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.directory.glob("*.out"))

    def stop(self) -> None:
        """End the jobs, the daemons and whatever else runs under this cluster."""
        if len(self._daemons) == 3 and all(daemon.poll() is None for daemon in self._daemons):
            self.run("scancel", "--full", "--signal=KILL", f"--user={_user()}")
            self.run("scancel", f"--user={_user()}")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        deadline = time.monotonic() + 20
        while any(daemon.poll() is None for daemon in self._daemons):
            if time.monotonic() > deadline:
                for daemon in self._daemons:
                    daemon.kill()
            time.sleep(POLL_SECONDS)
        self._daemons.clear()
        # What a job left behind has our configuration in its environment, and so have Slurm's own helpers.
        for process in self._processes():
            os.kill(process, signal.SIGKILL)
        until(lambda: not self._processes(), "the cluster's last processes")

    def _processes(self) -> list[int]:
        mark = f"SLURM_CONF={self.configuration}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if (
                    mark in (entry / "environ").read_bytes().split(b"\0")
                    and b") Z" not in (entry / "stat").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile, or is another user's
        return found

    def __enter__(self) -> SlurmCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> Sequence[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
