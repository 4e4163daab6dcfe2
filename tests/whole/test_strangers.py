"""A run directory from a stranger: nothing is executed, nothing eats the memory, no way out."""

from __future__ import annotations

import ast
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate import generate_runs

from reports.runs.loading import load_results
from suite.common.errors import UserError
from suite.storage.archives import open_archive
from suite.storage.bounded_files import MAX_ARRAY_BYTES, MAX_CURVE_BYTES
from suite.storage.records import Cell, Job
from suite.storage.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
CELL = Cell("ppo", "CheetahRun", 0)
FORBIDDEN_CALLS = ("eval", "exec", "compile", "__import__")
FORBIDDEN_MODULES = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return generate_runs(tmp_path / "run", ("ppo",), ("CheetahRun",), range(2), points=3)


def product_files() -> list[Path]:
    packages = ("suite", "reports", "algorithms", "envs")
    return [path for name in packages for path in sorted((ROOT / name).rglob("*.py"))]


def test_nothing_in_the_product_can_load_code() -> None:
    wrong = []
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                allowed = any(
                    each.arg == "allow_pickle" and ast.unparse(each.value) == "False"
                    for each in node.keywords
                )
                loads = name in ("np.load", "numpy.load") and not allowed
                if loads or name in FORBIDDEN_CALLS:
                    wrong.append(f"{path.name}:{node.lineno} {name}")
            names = (
                [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else []
            )
            modules = [*names, getattr(node, "module", None) or ""]
            wrong += [f"{path.name} {each}" for each in modules if each in FORBIDDEN_MODULES]
    # A user's own file is executed, by what names it on the command line; a kept one by --trust.
    assert {each.rpartition(":")[0] for each in wrong} == {"user_file.py"}


def test_files_are_executed_for_two_callers_alone() -> None:
    loaders = {"load_class", "load_module"}
    callers = {
        path.name
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and loaders & {alias.name for alias in node.names}
    }
    assert callers == {"select_methods.py", "task_files.py"}


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def assert_damaged(run: RunDirectory, content: bytes, reason: str) -> None:
    (run.cell_path(CELL) / "episodes.npz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError, match=reason) as caught:
        run.files(CELL).read_episodes()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "episodes.npz is damaged" in str(caught.value)
    assert peak < 4 << 20


def test_pickles_are_never_loaded(run: RunDirectory, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    bomb = np.array([Bomb(touched)], dtype=object)
    assert pickle.dumps(bomb)  # it could be pickled
    steps = npy(np.zeros(1, np.int64))
    assert_damaged(run, npz(env_steps=steps, returns=npy(bomb)), "never loaded")
    assert not touched.exists()


def test_an_archive_that_claims_too_much_is_not_unpacked(run: RunDirectory) -> None:
    zeros = header((MAX_ARRAY_BYTES,), "|u1") + bytes(MAX_ARRAY_BYTES)
    assert_damaged(run, npz(env_steps=npy(np.zeros(1)), returns=zeros), "more than the")


def test_a_header_that_claims_too_much_allocates_nothing(run: RunDirectory) -> None:
    for shape in ((10**12,), (10**6, 10**6, 10**6), (2**62, 4), (-1, 2)):
        lie = header(shape) + b"1234"
        assert_damaged(run, npz(env_steps=npy(np.zeros(1)), returns=lie), "header says|damaged")


def test_an_archive_whose_directory_lies(run: RunDirectory) -> None:
    """The member's true size is far above the one that the archive's directory tells."""
    content = bytearray(npz(env_steps=npy(np.zeros(1)), returns=header((9,)) + bytes(32 << 20)))
    size = (32 << 20) + len(header((9,)))
    assert content.count(size.to_bytes(4, "little")) == 2
    lie = bytes(content).replace(size.to_bytes(4, "little"), (200).to_bytes(4, "little"))
    assert_damaged(run, lie, "damaged")


def test_arrays_survive_the_careful_reader() -> None:
    arrays: dict[str, Any] = {
        "none": np.zeros((0, 2, 4), np.float32),
        "scalar": np.int64(7),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(5, dtype=">i8"),
        "flags": np.array([True, False]),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    with open_archive(file, 10_000) as archive:
        assert set(archive) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array, strict=True)
    with pytest.raises(ValueError, match="more than"), open_archive(file, 100):
        pass


def test_a_huge_curve_is_not_read(run: RunDirectory) -> None:
    path = run.cell_path(CELL) / "curve.csv"
    with open(path, "ab") as file:
        file.truncate(10 << 30)  # sparse: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(UserError, match="far more than any run writes"):
        run.files(CELL).read_curve()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()
    assert peak < 4 * MAX_CURVE_BYTES


@pytest.mark.parametrize("depth", [40, 900, 10**5])
def test_deep_json_is_damage(run: RunDirectory, depth: int) -> None:
    path = run.cell_path(CELL) / "run.json"
    path.write_text('{"a":' * depth + "1" + "}" * depth)
    with pytest.raises(UserError, match=r"run\.json is damaged \(nested too deeply\)"):
        run.files(CELL).read_run()


@pytest.mark.parametrize("name", ["curve.csv", "run.json", "status.json", "episodes.npz"])
def test_files_that_lead_outside_are_not_read(run: RunDirectory, tmp_path: Path, name: str) -> None:
    path = run.cell_path(CELL) / name
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    found = [each.text for each in load_results([run.path]).findings]
    assert any(f"{name} leads out of the run directory" in text for text in found)


def test_cells_that_lead_outside_are_neither_read_nor_written(
    run: RunDirectory, tmp_path: Path
) -> None:
    outside = run.cell_path(CELL).rename(tmp_path / "outside")
    run.cell_path(CELL).symlink_to(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    assert load_results([run.path]).runs_of("ppo", "CheetahRun")[0].state == "damaged"
    refused = pytest.raises(UserError, match="leads out of the run directory")
    with refused, run.files(CELL).batch() as batch:
        batch.put_metrics([])
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before


@pytest.mark.parametrize("link", [".workers", "CheetahRun", "CheetahRun/ppo"])
def test_leases_are_not_taken_outside(run: RunDirectory, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    (run.path / link).rename(outside) if (run.path / link).exists() else outside.mkdir()
    (run.path / link).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for job in (Job("ppo", "CheetahRun", (0, 1)), Job("ppo", "CheetahRun", (7,))):
        with pytest.raises(UserError, match="leads out of the run directory"), run.locked(job):
            pass
    assert sorted(outside.rglob("*")) == before


READER = """
import pathlib, sys
from suite.leases.lease import is_owned
from suite.leases.worker import Worker
run, cell = map(pathlib.Path, sys.argv[1:])
print(is_owned(run, cell))
with Worker(run) as worker:
    worker.acquire([cell])
"""


@pytest.mark.parametrize(
    ("pipe", "error"),
    [
        ("CheetahRun/ppo/seed-000/.lease-000003", ""),
        ("CheetahRun/ppo/seed-000/.lock", "is no regular file; delete it"),
        (".workers/aa.json", ""),
    ],
)
def test_pipes_stop_nobody(run: RunDirectory, pipe: str, error: str) -> None:
    path = run.path / pipe
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    command = [sys.executable, "-c", READER, str(run.path), str(run.cell_path(CELL))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
    assert done.returncode == bool(error) and error in done.stderr


def test_a_lock_that_is_a_link_is_not_followed(run: RunDirectory, tmp_path: Path) -> None:
    (run.cell_path(CELL) / ".lock").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=r"\.lock is no regular file"):
        run.locked(Job("ppo", "CheetahRun", (0,))).__enter__()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["seed-0", "seed-0000", "seed-00x", "seed-²³¹", f"seed-{10**30}"])
def test_directories_that_no_cell_has(run: RunDirectory, name: str) -> None:
    cells = run.cells()
    path = run.path / "CheetahRun" / "ppo" / name
    path.mkdir()
    (path / "run.json").write_text("{}")
    assert run.cells() == cells


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", os.fsdecode(b"\xff")])
def test_names_that_cannot_be_shown_are_refused(run: RunDirectory, name: str) -> None:
    path = run.path / "CheetahRun" / name / "seed-000"
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="rename or remove") as caught:
        run.cells()
    assert str(caught.value).isprintable()
