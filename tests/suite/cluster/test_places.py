"""What `--on` may say, what it comes to, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from suite.cluster import opening, places
from suite.cluster.opening import opened, queue_options
from suite.cluster.places import Place, Tls, count_of, local_slots, parse_place
from suite.common.errors import UserError
from suite.planning.planned_job import JobState
from suite.planning.run_request import make_request

SLURM = """
kind = "slurm"
partition = "gpu"
account = "lab"
walltime = "04:00:00"
workers = 12
cores = 8
gpus = 1
memory = "32GB"
setup = ["module load cuda"]
directives = ["--signal=B:TERM@120"]
listen = "10.0.0.5"
"""


def write(directory: Path, text: str) -> str:
    path = directory / "place.toml"
    path.write_text(text)
    return str(path)


def test_what_is_typed() -> None:
    assert parse_place("local") == Place("local")
    assert parse_place("local:3") == Place("local", workers=3)
    assert parse_place("slurm:8") == Place("slurm", workers=8)
    assert parse_place("tls://host:8786").address == "tls://host:8786"


def test_a_file_says_everything(tmp_path: Path) -> None:
    place = parse_place(write(tmp_path, SLURM))
    assert (place.partition, place.workers, place.gpus) == ("gpu", 12, 1)
    options = queue_options(place)
    assert options["scheduler_options"]["host"] == "10.0.0.5"
    assert options["job_extra_directives"] == ["--gres=gpu:1", "--signal=B:TERM@120"]
    assert options["job_script_prologue"] == ["module load cuda"]
    assert (options["queue"], options["account"]) == ("gpu", "lab")
    assert "security" not in options


def test_the_scheduler_listens_on_loopback_unless_told_otherwise() -> None:
    assert queue_options(Place("slurm"))["scheduler_options"]["host"] == "127.0.0.1"


def test_tls_files_are_passed_through(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ca", "cert", "key")]
    for file in files:
        file.touch()
    tls = Tls(*map(str, files))
    options = queue_options(Place("slurm", tls=tls))
    assert options["protocol"] == "tls://"
    security = options["security"]
    assert security.require_encryption
    assert security.get_tls_config_for_role("worker")["ca_file"] == tls.ca
    assert security.get_tls_config_for_role("scheduler")["key"] == tls.key


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lokal", "did you mean 'local'"),
        ("http://host:1", "tcp://HOST:PORT"),
        ("local:0", "at least 1"),
        ("missing.toml", "no such file"),
    ],
)
def test_what_is_mistyped(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_place(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers = 3", "say where"),
        ('kind = "slurm"\npartitoin = "gpu"', "did you mean 'partition'"),
        ('kind = "slurm"\nworkers = "many"', "workers = 'many'"),
        ('kind = "slrm"', "kind = 'slrm'"),
        ('kind = "local"\ncores = 0', "cores must be at least 1"),
        ('address = "host"', "tcp://HOST:PORT"),
        ('kind = "slurm"\n[tls]\nca = "a"', "tls"),
        ('kind = "slurm"\n[tls]\nca = "a"\ncert = "b"\nkey = "c"', "a: no such file"),
        ("kind = ", "place.toml"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_place(write(tmp_path, text))


def test_gpus_of_queues_without_one_way_to_ask_for_them() -> None:
    with pytest.raises(UserError, match="directives"):
        queue_options(Place("pbs", gpus=1))


def test_each_worker_gets_a_gpu_of_its_own() -> None:
    slots = local_slots(Place("local"), ["0", "1", "MIG-7"], "jax")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1", "MIG-7"]
    assert [slot.name for slot in slots] == ["local-0", "local-1", "local-2"]
    assert count_of(Place("local"), 99, slots) == 3


@pytest.mark.parametrize(
    ("cores", "engine", "place", "groups"),
    [
        (8, "jax", Place("local"), [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (2, "jax", Place("local"), [(0, 1)]),
        (3, "native", Place("local"), [(0,), (1,), (2,)]),
        (8, "native", Place("local", cores=2), [(0, 1), (2, 3), (4, 5), (6, 7)]),
        (8, "native", Place("local", workers=3), [(0, 1), (2, 3), (4, 5)]),
        (2, "native", Place("local", workers=3), [(0,), (1,), (0,)]),
    ],
)
def test_cores_are_divided(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    engine: str,
    place: Place,
    groups: list[tuple[int, ...]],
) -> None:
    monkeypatch.setattr(places, "usable_cores", lambda: list(range(cores)))
    assert [slot.cores for slot in local_slots(place, [], engine)] == groups


@pytest.mark.parametrize(
    ("engine", "cores", "states", "seconds", "pays"),
    [
        ("native", 2, ("new", "partial"), 1000.0, True),
        ("jax", 2, ("new", "new"), 1000.0, False),
        ("native", 1, ("new", "new"), 1000.0, False),
        ("native", 2, ("new", "done"), 1000.0, False),
        ("native", 2, ("new", "new"), 60.0, False),
    ],
)
def test_a_worker_on_each_core_where_that_pays(
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    cores: int,
    states: Sequence[JobState],
    seconds: float,
    pays: bool,
) -> None:
    monkeypatch.setattr(places, "usable_cores", lambda: list(range(cores)))
    plan = make_request("ppo", "CheetahRun", "2", "smoke", "native", None, ()).plan(None)
    jobs = [
        dataclasses.replace(planned, state=state, seconds=seconds / len(states))
        for planned, state in zip(plan.jobs, states, strict=True)
    ]
    place = places.own_cores(engine, dataclasses.replace(plan, jobs=tuple(jobs)))
    assert place == (Place("local") if pays else None)


def test_the_devices_that_the_user_chose_are_the_ones_that_are_divided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import jax

    class Device:
        platform = "gpu"

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(), Device()])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert places.visible_gpus("jax") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert places.visible_gpus("warp") == ["2", "5"]
    assert places.visible_gpus("native") == []


def test_this_process_takes_no_memory_of_gpus_and_trainers_do_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    monkeypatch.setattr(places, "_for_trainers", {})
    monkeypatch.setenv(name, "true")  # the user's own choice stays
    places.leave_gpus_alone()
    assert local_slots(Place("local"), ["0"], "jax")[0].environment == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.delenv(name)
    places.leave_gpus_alone()
    assert os.environ[name] == "false"
    assert local_slots(Place("local"), ["0"], "jax")[0].environment[name] is None
    monkeypatch.delenv(name)


def test_a_queue_is_asked_for_no_more_workers_than_there_are_jobs() -> None:
    assert count_of(Place("slurm"), 3, []) == 3
    assert count_of(Place("slurm"), 30, []) == 8
    assert count_of(Place("slurm", workers=20), 30, []) == 20


def test_nothing_listens_to_other_machines() -> None:
    slots = local_slots(Place("local", workers=2), [], "native")
    with opened(Place("local"), 2, slots) as pool:
        assert set(pool.workers().values()) == {"local-0", "local-1"}
        found = psutil.Process().net_connections("inet")
        addresses = {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1"}


def test_a_scheduler_that_is_not_there_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "_CONNECT_SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(UserError, match="no Dask scheduler answers"),
        opened(parse_place(address), 0, ()),
    ):
        pass
