"""The names of the built-in algorithms, readable without importing JAX."""

from __future__ import annotations

ALL: tuple[str, ...] = ("ppo", "fpo", "dppo", "gorl-fm", "gorl-diff")
"""The five methods that are compared; what `--algos all` stands for."""

CONTROLS: tuple[str, ...] = ("gorl-identity", "ppo-matched", "ppo-matched-reset")
"""Ablations that tell GoRL's settings and resets apart from its decoder."""

NAMES: tuple[str, ...] = ALL + CONTROLS
