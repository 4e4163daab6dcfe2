"""The names of the built-in algorithms, readable without importing JAX."""

from __future__ import annotations

ALL: tuple[str, ...] = ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
"""The five methods that are compared; what `--algos all` stands for."""

CONTROLS: tuple[str, ...] = (
    "gorl-identity",
    "ppo-matched",
    "ppo-matched-reset",
    "ppo-brax",
    "gorl-gauss",
)
"""Ablations that tell GoRL's settings and resets apart from its decoder, and the PPO that a
practitioner would start from."""

BASELINES: tuple[str, ...] = (
    "sac",
    "gorl-sac-fm",
    "gorl-sac-diff",
    "rldt",
    "rldt-warm",
    "fpo-plus-plus",
    "reinflow",
    "dppo-ren",
)
"""Methods of other families to compare with, which `--algos all` does not mean."""

NAMES: tuple[str, ...] = ALL + CONTROLS + BASELINES
