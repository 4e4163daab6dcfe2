"""The table of the methods: the page is what the command prints, and its cells are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from algorithms.names import NAMES
from benchmarks import methods_table
from benchmarks.methods_table import Code, codes, equation_tests, update_to_data

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/methods-table.md"
CONTROLS = ROOT / "results/controls/all/CheetahRun"


@pytest.fixture(scope="module")
def known() -> dict[str, Code]:
    return codes(ROOT)


def test_the_page_is_what_its_command_prints() -> None:
    stored = PAGE.read_text(encoding="utf-8")
    command = re.search(r"`(python -m benchmarks\.methods_table --runs (\S+))`", stored)
    assert command is not None
    told = f"write it again: {command[1]} > docs/methods-table.md"
    assert stored == methods_table.page(command[2].split(",")), told


def test_every_method_has_a_line_and_every_file_too(known: dict[str, Code]) -> None:
    first, *_, last = PAGE.read_text("utf-8").split("\n## ")
    rows = [line.split(" | ") for line in (first + last).splitlines()]
    assert [row[0] for row in rows if row[0].startswith("| `")] == [f"| `{n}`" for n in NAMES]
    files = [row[0].removeprefix("| ") for row in rows if row[0].startswith("| algorithms/")]
    assert set(files) == {code.path for code in known.values()}
    assert len(files) == len(set(files))


def test_both_gorls_share_their_decoder_and_not_their_encoder(known: dict[str, Code]) -> None:
    ppo, sac = (set(known[name].parts) for name in ("gorl-fm", "gorl-sac-fm"))
    decoders = {f"algorithms.encoder_decoder.{name}" for name in ("decoder", "gaussian_decoder")}
    assert decoders <= ppo & sac
    assert {"algorithms.sac", "algorithms.off_policy.learner"} <= sac - ppo
    assert "algorithms.staged_ppo" in ppo


def test_a_file_of_tests_is_about_its_namesake_or_what_it_imports(known: dict[str, Code]) -> None:
    about = {each.path: each.about for each in equation_tests(ROOT)}
    assert about["parts/test_flow.py"] == {"algorithms.parts.flow"}
    assert "algorithms.gorl_sac" not in about["test_gorl.py"]
    assert "algorithms.gorl" in about["encoder_decoder/test_warm_encoder.py"]
    assert not {"test_contract.py", "test_registry.py", "test_bounds.py"} & about.keys()
    assert [each.path for each in known["rldt-warm"].own] == ["test_rldt_warm.py"]
    assert "test_rldt.py" in {each.path for each in known["rldt-warm"].shared}
    assert all(code.own and code.shared for code in known.values())


def test_update_to_data_of_a_method_with_and_one_without_replay() -> None:
    """4 epochs of 8 minibatches for 256 x 60 steps; 1 in 16 as the setting says."""
    assert update_to_data("ppo") == 4 * 8 / (256 * 60)
    assert update_to_data("sac") == update_to_data("rldt-warm") == 1 / 16


def test_runs_of_a_smaller_budget_have_a_table_of_their_own() -> None:
    """GoRL's controls at 2M steps beside the first two seeds of `lite`: nothing is mixed."""
    text = methods_table.page(["results/controls/all", "results/lite-first"])
    before, after = text.split("\n## After 1,996,800 environment steps\n")
    rows = {line.split(" | ")[0]: line for line in before.splitlines()}
    assert "of the finished runs of 3,993,600 environment steps in" in before
    assert "| 747 ± 69 (2) |" in rows["| `ppo`"]
    assert [line.split(" | ")[0] for line in after.splitlines() if "(3) |" in line] == [
        f"| `{name}`" for name in NAMES if (CONTROLS / name).is_dir()
    ]
