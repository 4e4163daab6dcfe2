"""The humanoids train and are evaluated by the native engine."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from suite.cli import run_command
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.stored_policies import stored_policy

SIX_UPDATES = ("--protocol", "smoke", "--set", "protocol.total_steps=960", "--seeds", "1")


@pytest.mark.slow
def test_a_policy_and_a_decoder_of_21_actions_train_on_each(tmp_path: Path) -> None:
    methods, out = ("ppo", "gorl-fm", "gorl-diff"), tmp_path / "run"
    chosen = ("--algos", ",".join(methods), "--tasks", "humanoid2")
    command = ("run", *chosen, *SIX_UPDATES, "--out", str(out))
    assert run_command(list(command)) == 0
    stored = RunDirectory.open(out)
    for method, task in itertools.product(methods, ("HumanoidStand", "HumanoidRun")):
        rows = stored.files(Cell(method, task, 0)).read_curve()
        assert (rows[0].env_steps, rows[-1].env_steps) == (0, 960)
        assert all(0 < row.return_mean < 1000 for row in rows)
        _, environment, state = stored_policy(stored, Cell(method, task, 0))
        assert environment.action_size == 21
        if method != "ppo":  # no longer the identity
            assert all(np.any(leaf) for leaf in jax.tree.leaves(state.decoder.params))
