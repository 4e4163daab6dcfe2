"""Provenance tells the machine, but neither the person nor the host."""

from __future__ import annotations

import getpass
import json
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.storage import provenance
from suite.storage.provenance import threads_of
from suite.training import resources


def test_names_of_people_and_hosts_and_secrets_stay_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax.devices()  # XLA reads its flags once, and ends the process where it does not know one
    home = tmp_path / "somewhere"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("API_TOKEN", "tk-123456")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={home}/dump --xla_on=jdoe")
    monkeypatch.setattr(getpass, "getuser", lambda: "jdoe")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-box.example")
    arguments = [f"{home}/bin/suite", "run", "--out", f"{home}/runs", "/data/jdoe/a"]
    arguments += ["--protocol=/home/other/p.toml", "lab-box.example", "ppo"]
    arguments += [f"{Path.cwd()}/runs/a", f"{Path.cwd()}-2/b", "--out=/mnt/x/jdoe", "a/b"]
    arguments += ["relative/jdoe"]
    monkeypatch.setattr(sys, "argv", arguments)
    facts: Any = provenance.provenance()
    text = json.dumps(facts)
    for private in ("jdoe", "lab-box", "somewhere", "other", "mnt", "tk-123456", platform.node()):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text)
    assert facts["command"] == [
        *("suite", "run", "--out", "~/runs", ".../a"),
        *("--protocol=~/p.toml", "HOST", "ppo"),
        *("./runs/a", ".../b", "--out=.../USER", "a/b", "relative/USER"),
    ]
    assert facts["environment"]["XLA_FLAGS"] == "--xla_dump_to=~/dump --xla_on=USER"


ODD = st.text(st.sampled_from(" =:,;'\"()[]{}@%&+~.-_aé\u200b\n"), max_size=4)
DIRECTORY = st.tuples(ODD, ODD).map("PRIVATE".join)
BEFORE = st.sampled_from(["", "--out=", "--set a.b=", "x:", "a b ", "(", "='", "FILE=1,"])
PATHS = st.lists(st.lists(DIRECTORY, min_size=1, max_size=3), min_size=1, max_size=3)


@given(BEFORE, PATHS, st.sampled_from([",", ":", " ", "=", ";", ", ", "'"]), ODD)
@settings(max_examples=300, deadline=None)
def test_no_directory_of_an_absolute_path_is_told(
    before: str, paths: list[list[str]], between: str, odd: str
) -> None:
    text = before + between.join(f"/{'/'.join(each)}/{odd}name" for each in paths)
    (told,) = provenance._anonymous([text])
    assert "PRIVATE" not in told
    assert told.startswith(before.strip("\n")) and told.endswith("name")


def test_lists_of_files_that_are_there_stay_lists(tmp_path: Path) -> None:
    places = [tmp_path / "a b" / "one.csv", tmp_path / "c,d" / "two.csv"]
    for each in places:
        each.parent.mkdir()
        each.touch()
    text = f"--reference={places[0]},{places[1]},gorl2025"
    assert provenance._anonymous([text]) == ["--reference=.../one.csv,.../two.csv,gorl2025"]


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", fail)
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    monkeypatch.setattr(sys, "argv", ["suite", "run"])
    assert provenance.provenance()["command"] == ["suite", "run"]


def test_what_it_tells() -> None:
    facts: Any = provenance.provenance()
    assert facts["python"] == platform.python_version()
    assert facts["packages"]["jax"] == sys.modules["jax"].__version__
    assert facts["device"]["platform"] == "cpu"
    assert facts["device"]["x64"] is False
    assert facts["device"]["backend"] == jax.devices()[0].client.platform_version
    assert facts["cpus_available"] >= 1


def test_threads_are_those_that_xla_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PJRT_NPROC", "1")
    assert threads_of(provenance.provenance()) == 1
    monkeypatch.delenv("PJRT_NPROC")
    facts: Any = provenance.provenance()
    assert threads_of(facts) == facts["cpus_available"]
    # Older runs do not say; a GPU's products have nothing to do with it.
    assert threads_of({"cpus_available": 2, "device": {"platform": "cpu"}}) == 2
    assert threads_of({"cpus_available": 2, "device": {"platform": "gpu"}}) is None
    assert threads_of({"cpus_available": 2}) is None


def test_git_state_is_that_of_the_suites_own_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    assert provenance.provenance()["git"] is None
    git("init", "-q")
    assert provenance.provenance()["git"] is None  # no commit yet
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/file").write_text("a")
    git("add", "suite")
    git("commit", "-qm", "one")
    assert provenance.provenance()["git"] == {"commit": git("rev-parse", "HEAD"), "clean": True}
    (tmp_path / "my_method.py").write_text("b")  # beside the packages, where the tutorial puts it
    assert provenance.provenance()["git"] == {"commit": git("rev-parse", "HEAD"), "clean": True}
    (tmp_path / "suite/new.py").write_text("b")
    assert provenance.provenance()["git"] == {"commit": git("rev-parse", "HEAD"), "clean": False}
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(provenance, "_ROOT", tmp_path / "inside")
    assert provenance.provenance()["git"] is None  # somebody else's checkout around the suite


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can let the peak begin anew")
def test_peak_memory_is_that_of_one_start() -> None:
    size = 200 << 20
    resources.forget_peak()
    before = resources.peak_memory()
    assert before is not None
    block = b"x" * size
    during = resources.peak_memory()
    assert during is not None and 0.9 * size < during - before < 2 * size
    del block
    resources.forget_peak()
    after = resources.peak_memory()
    assert after is not None and after - before < size / 2
