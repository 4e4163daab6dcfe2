"""Archives of cells: what comes back is what was sent, and a stranger's archive writes nothing."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from generate import generate_runs

from suite.cluster.sending import Remote, in_scratch, job_to_plain, pack, unpack
from suite.common.errors import UserError
from suite.leases.claims import Held
from suite.leases.lease import LeaseLost
from suite.leases.worker import Worker
from suite.storage.records import Job
from suite.storage.run_directory import RunDirectory

JOB = Job("ppo", "CheetahRun", (0, 1))


@pytest.fixture
def source(tmp_path: Path) -> RunDirectory:
    run = generate_runs(tmp_path / "source", ["ppo"], ["CheetahRun"], (0, 1), points=3)
    for name in ("", ".prev"):
        path = run.checkpoint_path(JOB)
        path.with_name(path.name + name).write_bytes(f"checkpoint{name}".encode())
    return run


def contents(run: RunDirectory) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.parent.name != ".workers"
    }


def test_what_comes_back_is_what_was_sent(source: RunDirectory, tmp_path: Path) -> None:
    target = RunDirectory.create(tmp_path / "target", source.protocol)
    (target.path / "CheetahRun" / "ppo").mkdir(parents=True)
    stale = target.checkpoint_path(JOB)
    stale.with_name(stale.name + ".part").write_bytes(b"an older state")
    packed = pack(source, JOB)
    assert set(packed) == {str(cell) for cell in JOB.cells} | {"checkpoints"}
    unpack(target, JOB, packed)
    assert contents(target) == contents(source)
    assert not any(target.files(cell).check_digests().faults for cell in JOB.cells)


def evil(name: str, size: int = 3) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"x" * size)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name",
    ["../../escaped.txt", "/escaped.txt", ".lease-000001", "a/b.txt", "run", "..", "x.\n"],
)
def test_no_file_is_written_anywhere_else(source: RunDirectory, tmp_path: Path, name: str) -> None:
    before = contents(source)
    packed = {**pack(source, JOB), str(JOB.cells[1]): evil(name)}
    with pytest.raises(UserError, match="nothing was kept"):
        unpack(source, JOB, packed)
    assert contents(source) == before
    assert not list(tmp_path.rglob("escaped*"))


def test_checkpoints_are_of_this_job_alone(source: RunDirectory) -> None:
    with pytest.raises(UserError, match="checkpoint"):
        unpack(source, JOB, {**pack(source, JOB), "checkpoints": evil("job-007.ckpt")})


def test_what_is_no_archive_is_refused(source: RunDirectory) -> None:
    with pytest.raises(UserError, match="damaged"):
        unpack(source, JOB, {**pack(source, JOB), str(JOB.cells[0]): b"PK\3\4 no"})


def test_a_job_is_leased_here_while_it_trains_elsewhere(source: RunDirectory) -> None:
    with Worker(source.path) as mine, Worker(source.path) as others:
        remote = Remote(source, JOB, mine)
        with pytest.raises(Held), source.locked(JOB, others):
            pass
        remote.take_back(remote.files)
        with source.locked(JOB, others):
            pass


def test_what_comes_back_too_late_is_not_written(source: RunDirectory) -> None:
    with Worker(source.path) as mine:
        remote = Remote(source, JOB, mine)
        for cell in JOB.cells:  # as another process claims it, to which this one seemed dead
            (source.cell_path(cell) / ".lease-000009").write_text('{"owner": "somebody"}')
        before = contents(source)
        late = {**remote.files, "checkpoints": evil(f"{source.checkpoint_path(JOB).name}")}
        with pytest.raises(LeaseLost):
            remote.take_back(late)
        assert contents(source) == before


def test_a_job_goes_on_elsewhere_from_what_is_stored(source: RunDirectory, tmp_path: Path) -> None:
    seen: dict[str, bytes] = {}

    def train(order: dict[str, object]) -> dict[str, object]:
        setup = order["setup"]
        assert isinstance(setup, dict)
        run = RunDirectory.open(Path(str(setup["run_path"])))
        seen.update(contents(run))
        run.checkpoint_path(JOB).write_bytes(b"further on")
        return {"outcome": "interrupted"}

    setup = {"run_path": str(source.path), "protocol": source.protocol.to_dict()}
    order = {"setup": setup, "job": job_to_plain(JOB), "files": pack(source, JOB)}
    result = in_scratch(order, tmp_path / "scratch", train)
    assert seen == contents(source)
    files = result.pop("files")
    assert result == {"outcome": "interrupted"}
    assert isinstance(files, dict)
    unpack(source, JOB, files)
    assert source.checkpoint_path(JOB).read_bytes() == b"further on"
    assert not list((tmp_path / "scratch").rglob("*.ckpt*"))
