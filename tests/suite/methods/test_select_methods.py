"""Methods of a user's file: known by a name, trained, and kept with what they trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from algorithms import registry
from algorithms.names import ALL
from suite.cli import run_command
from suite.common.errors import UserError
from suite.methods.method_record import method_facts
from suite.methods.select_methods import select_methods

METHOD = '''
import dataclasses
from algorithms.ppo import PPO


@dataclasses.dataclass(frozen=True)
class SlowPPO(PPO):
    """PPO with a low learning rate."""

    learning_rate: float = 1e-5
'''

SMALL = "--set=*.actor_hidden=4", "--set=*.critic_hidden=4", "--set=protocol.num_epochs=1"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, registry.Entry]]:
    """What this test makes known; other tests do not know it."""
    known: dict[str, registry.Entry] = {}
    monkeypatch.setattr(registry, "_of_files", known)
    yield known


def written(folder: Path, text: str = METHOD, name: str = "my_method.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_stands_among_names(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert select_methods(f"all,{path}:SlowPPO") == (*ALL, "slow-ppo")
    assert select_methods(str(path)) == ("slow-ppo",)
    entry = registry.lookup("slow-ppo")
    assert entry.description == "PPO with a low learning rate."
    assert entry.file is not None and entry.file.content == path.read_bytes()


def test_a_method_may_name_itself(tmp_path: Path) -> None:
    text = METHOD.replace("    learning", "    NAME = 'calm'\n    learning")
    assert select_methods(str(written(tmp_path, text))) == ("calm",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (METHOD.replace("SlowPPO", "PPO_"), r"my_method\.py:7: its name 'ppo' is taken; call"),
        (METHOD.replace("1e-5", "None").replace(": float", ": dict"), r"\.py:7: PPO.*type <class"),
        (METHOD.replace("frozen=True", ""), r"my_method\.py:6: .*non-frozen dataclass"),
        (METHOD.replace("@dataclasses.dataclass(frozen=True)\n", "").replace("learning_rate", "x"),
         r"lacks @dataclasses"),
        ("from algorithms.api import Algorithm\nclass Mine(Algorithm):\n    pass\n",
         r"my_method\.py:2: its class Mine lacks act, init, parameters, update"),
        ("from algorithms.ppo import PPO\n", "holds no method"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_told_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UserError, match=said.replace("PPO.*", ".*")):
        select_methods(str(written(tmp_path, text)))


def test_an_imported_class_is_no_method_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "from algorithms.ppo import PPO\n")
    with pytest.raises(UserError, match="PPO is defined elsewhere"):
        select_methods(f"{path}:PPO")


def test_the_source_is_the_same_wherever_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    facts = []
    for folder in (tmp_path, tmp_path / "other"):
        select_methods(str(written(folder)))
        facts.append(method_facts("slow-ppo"))
    assert facts[0] == facts[1]
    select_methods(str(written(tmp_path, METHOD + "# a remark\n")))
    assert method_facts("slow-ppo")["source"] == facts[0]["source"]
    select_methods(str(written(tmp_path, METHOD.replace("1e-5", "2e-5"))))
    assert method_facts("slow-ppo")["source"] != facts[0]["source"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a file's method, whose file is gone afterwards."""
    folder = tmp_path_factory.mktemp("stranger")
    path = written(folder)
    arguments = ["--tasks=CheetahRun", "--seeds=1", "--protocol=smoke", f"--out={folder / 'run'}"]
    before = dict(registry._of_files)
    assert run_command(["run", f"--algos={path}", *SMALL, *arguments]) == 0
    registry._of_files.clear()
    registry._of_files.update(before)
    path.unlink()
    return folder / "run"


def test_a_stranger_reads_and_audits_a_run_without_the_file(trained: Path, tmp_path: Path) -> None:
    cell = trained / "CheetahRun" / "slow-ppo" / "seed-000"
    assert (cell / "method.py").read_text(encoding="utf-8") == METHOD
    told = json.loads((cell / "run.json").read_text())["provenance"][-1]["method"]
    assert told["file"]["name"] == "my_method.py" and told["file"]["class"] == "SlowPPO"
    assert "slow-ppo" not in registry.entries()
    out = f"--out={tmp_path / 'report'}"
    assert run_command(["report", str(trained), "--reps=100", "--format=tables", out]) == 0
    assert run_command(["audit", str(trained)]) == 0
    assert "slow-ppo" not in registry.entries()  # read, and not executed


EVAL = ("--task=CheetahRun", "--algo=slow-ppo", "--seed=0", "--episodes=1", "--json")


def test_the_kept_file_is_executed_only_on_trust(
    trained: Path, capsys: pytest.CaptureFixture[str], forgotten: dict[str, registry.Entry]
) -> None:
    assert run_command(["eval", str(trained), *EVAL]) == 2
    assert "method.py; read that, then --trust executes it" in capsys.readouterr().err
    assert not forgotten
    assert run_command(["eval", str(trained), *EVAL, "--trust"]) == 0
    first = json.loads(capsys.readouterr().out)["returns"]
    forgotten.clear()
    own = written(trained.parent)
    again = [f"--algo={own}" if each.startswith("--algo") else each for each in EVAL]
    assert run_command(["eval", str(trained), *again]) == 0
    assert json.loads(capsys.readouterr().out)["returns"] == first


def test_a_changed_copy_is_not_executed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    kept = copy / "CheetahRun" / "slow-ppo" / "seed-000" / "method.py"
    kept.write_text(METHOD + "raise SystemError\n", encoding="utf-8")
    assert run_command(["eval", str(copy), *EVAL, "--trust"]) == 2
    assert "is not the file that run.json names" in capsys.readouterr().err
    assert run_command(["audit", str(copy)]) == 1
    assert "method.py is not what was written" in capsys.readouterr().out


def test_a_traceback_is_shown_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "x = 1 / 0\n")
    for asked in ([], ["--traceback"]):
        assert run_command(["run", f"--algos={path}", "--dry-run", *asked]) == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith(f"suite: error: {path}:1: cannot be imported")
        assert ("Traceback" in error) == bool(asked)
