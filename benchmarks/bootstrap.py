"""Our stratified bootstrap against `rliable.library`: same intervals, how much faster.

    python benchmarks/bootstrap.py [--repetitions 50000] [--matrices 3]

Monte-Carlo error: both sides draw anew, so their interval ends differ by about
`sqrt(2) * s.e.`, where s.e. is that of a 2.5% quantile of that many draws.
"""

from __future__ import annotations

import math
import time

import click
import numpy as np
from rliable import library, metrics

from reports.analysis import bootstrap

RUNS, TASKS = 5, 6


def ours(matrix: np.ndarray, repetitions: int, seed: int) -> tuple[np.ndarray, float]:
    """Returns the interval of the IQM of scores [N, M] and the seconds it took."""
    began = time.perf_counter()
    scores = list(matrix.T)
    generator = np.random.default_rng(seed)
    counts = bootstrap.bootstrap_counts([len(matrix)] * len(scores), repetitions, generator)
    estimate = bootstrap.estimate(bootstrap.iqm, scores, counts)
    return np.array([estimate.low, estimate.high]), time.perf_counter() - began


def rliable(matrix: np.ndarray, repetitions: int, seed: int) -> tuple[np.ndarray, float]:
    """Returns the same by rliable, which draws from numpy's global generator."""
    np.random.seed(seed)  # noqa: NPY002 - rliable listens to nothing else
    began = time.perf_counter()
    _, intervals = library.get_interval_estimates(
        {"x": matrix}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=repetitions
    )
    return intervals["x"][:, 0], time.perf_counter() - began


def monte_carlo_error(matrix: np.ndarray, repetitions: int) -> float:
    """Returns the standard error of the difference of two independent interval ends."""
    ends = np.stack([ours(matrix, repetitions, seed)[0] for seed in range(1000, 1020)])
    return float(math.sqrt(2) * ends.std(axis=0, ddof=1).max())


@click.command()
@click.option("--repetitions", default=bootstrap.REPETITIONS, show_default=True)
@click.option("--matrices", default=3, show_default=True)
def main(repetitions: int, matrices: int) -> None:
    """Compares intervals of the IQM of random 5 x 6 matrices."""
    click.echo(f"{'ours':>18}  {'rliable':>18}  largest difference (s.e.)   seconds   ratio")
    for seed in range(matrices):
        matrix = np.random.default_rng(seed).beta(2, 2, (RUNS, TASKS))
        mine, my_seconds = ours(matrix, repetitions, seed)
        theirs, their_seconds = rliable(matrix, repetitions, seed)
        error = monte_carlo_error(matrix, repetitions)
        click.echo(
            f"[{mine[0]:.4f}, {mine[1]:.4f}]  [{theirs[0]:.4f}, {theirs[1]:.4f}]  "
            f"{np.abs(mine - theirs).max():.5f} ({error:.5f})   "
            f"{my_seconds:.3f} / {their_seconds:.1f}   {their_seconds / my_seconds:.0f}x"
        )


if __name__ == "__main__":
    main()
