"""How much intervals grow with fewer episodes, against scores that are drawn anew."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.evaluation_noise import growth, variances


def test_the_growth_is_that_of_scores_drawn_with_fewer_episodes() -> None:
    generator = np.random.default_rng(0)
    policies = generator.normal(0.0, 2.0, (20_000, 1))
    episodes = policies + generator.normal(0.0, 6.0, (20_000, 32))
    of_means, of_episodes = variances(list(episodes))
    fewer = episodes[:, :8].mean(axis=1).std(ddof=1)
    expected = fewer / episodes.mean(axis=1).std(ddof=1)
    assert growth(of_means, of_episodes, 32, 8) == pytest.approx(expected, rel=0.02)


def test_as_many_episodes_change_nothing() -> None:
    assert growth(3.0, 5.0, 32, 32) == 1.0
