"""A SLURM of one machine: munged, slurmctld and slurmd on loopback, with two devices for GPUs.

It needs root, for the devices and because slurmd starts jobs; Debian has it all in `slurm-wlm` and
`munge`. The devices are copies of /dev/null, so jobs are handed CUDA_VISIBLE_DEVICES and no GPU.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
CPUS, GPUS = 4, 2

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={directory}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Returns why there can be no SLURM here, "" if there can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "starting slurmd takes root"


class Slurm:
    """What runs of it.

    Attributes:
        environment: in which its commands find it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf")}
        self.environment["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin"
        self._processes: list[subprocess.Popen[bytes]] = []
        _write(directory)

    def start(self) -> None:
        """Starts all three, and waits until jobs can be submitted."""
        self._run_munge()
        self._spawn("slurmctld", "-D", "-i")
        self._spawn("slurmd", "-D", "-N", socket.gethostname())
        until = time.monotonic() + 30
        while "idle" not in self.call("sinfo", "-h", "-o", "%t"):
            if time.monotonic() > until:
                log = (self.directory / "slurmctld.log").read_text()
                raise AssertionError(f"SLURM did not start:\n{log[-2000:]}")
            time.sleep(0.2)

    def call(self, *command: str) -> str:
        """Returns what one of its commands prints."""
        found = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return found.stdout

    def jobs(self) -> list[str]:
        """Returns the numbers of the jobs that run."""
        return self.call("squeue", "-h", "-t", "R", "-o", "%i").split()

    def close(self) -> None:
        """Ends its jobs, then itself."""
        self.call("scancel", "-u", "root")
        until = time.monotonic() + 20
        while self.call("squeue", "-h").strip() and time.monotonic() < until:
            time.sleep(0.2)
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
                continue
            process.kill()
            process.wait()

    def _run_munge(self) -> None:
        files = {each: f"--{each}-file={self.directory}/munge.{each}" for each in ("key", "pid")}
        more = [f"--log-file={self.directory}/munge.log", f"--seed-file={self.directory}/seed"]
        place = f"--socket={self.directory}/munge.socket"
        self._spawn("munged", "--foreground", "--force", place, *files.values(), *more)
        until = time.monotonic() + 10
        while not (self.directory / "munge.socket").exists() and time.monotonic() < until:
            time.sleep(0.05)

    def _spawn(self, *command: str) -> None:
        with open(self.directory / f"{command[0]}.out", "wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self._processes.append(process)


@contextlib.contextmanager
def slurm(directory: Path) -> Iterator[Slurm]:
    """Starts a SLURM, and ends it with the body."""
    found = Slurm(directory)
    try:
        found.start()
        yield found
    finally:
        found.close()


def _write(directory: Path) -> None:
    directory.chmod(0o755)
    (directory / "state").mkdir()
    (directory / "spool").mkdir()
    key = directory / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for index in range(GPUS):
        os.mknod(directory / f"gpu{index}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    values = {"host": socket.gethostname(), "directory": directory, "cpus": CPUS, "gpus": GPUS}
    ports = dict(zip(("controller", "daemon"), _free_ports(2), strict=True))
    (directory / "slurm.conf").write_text(CONFIGURATION.format(**values, **ports))
    gres = f"NodeName={values['host']} Name=gpu File={directory}/gpu[0-{GPUS - 1}]\n"
    (directory / "gres.conf").write_text(gres)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
