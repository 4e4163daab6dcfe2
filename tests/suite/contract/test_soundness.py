"""What is watched in training, on numbers with a known answer."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from suite.common.errors import UserError
from suite.contract.soundness import action_excess, acts_finitely, check_metrics


def test_action_excess() -> None:
    assert float(action_excess(jnp.array([[1.0, -1.0], [0.0, 0.5]]))) == 0.0
    assert float(action_excess(jnp.array([[1.5, -3.0], [0.0, 0.5]]))) == 2.5
    assert np.isnan(action_excess(jnp.array([jnp.nan, 0.0])))
    assert np.isinf(action_excess(jnp.array([-jnp.inf, 0.0])))


def test_only_finite_actions_beyond_their_bounds_are_a_mistake() -> None:
    assert acts_finitely(0.0, "here")
    assert not acts_finitely(float("nan"), "here")
    assert not acts_finitely(float("inf"), "here")
    with pytest.raises(UserError, match=r"^here: act returned actions outside of \[-1, 1\]"):
        acts_finitely(1e-3, "here")


def test_a_metric_that_is_not_finite(caplog: pytest.LogCaptureFixture) -> None:
    check_metrics({"loss": 1.0}, "here", first=True)
    with pytest.raises(UserError, match=r"^here: update returned loss that is not finite"):
        check_metrics({"loss": float("nan"), "fine": 0.0}, "here", first=True)
    assert not caplog.records
    check_metrics({"loss": float("inf")}, "here", first=False)
    assert "here: update returned loss" in caplog.text
