"""Every forgery of docs/audit.md, planted and sealed: which check speaks, and how loudly."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.audit.all_checks import audit
from reports.runs.loading import load_results
from tests.reports.audit.forging import Forged, Matrix, Row, seal

ROOT = Path(__file__).resolve().parents[3]
STORED = ROOT / "results" / "controls-hopper" / "all"
TASK = "HopperStand"
ALGORITHMS = ("ppo", "gorl-fm", "gorl-identity")

Spoken = dict[str, str]
"""Verdicts that are not "ok", by check."""


@dataclasses.dataclass(frozen=True)
class Forgery:
    """One way to deceive.

    Attributes:
        name: its row in the table of docs/audit.md.
        plant: makes it, in a copy of stored runs.
        level: what finds it, the cheapest.
        spoken: what checks must say at once; nothing where only training or playing again can.
    """

    name: str
    plant: Callable[[Matrix], None]
    level: str
    spoken: Spoken

    @property
    def row(self) -> str:
        """Its row in the table of docs/audit.md."""
        said = [f"{verdict}: {check}" for check, verdict in sorted(self.spoken.items())]
        return f"| {self.name} | {self.level} | {', '.join(said) or 'passes'} |"


FORGERIES: list[Forgery] = []


def forgery(
    name: str, level: str = "consistency", failed: str = "", warning: str = ""
) -> Callable[[Callable[[Matrix], None]], None]:
    """Adds a forgery, with the checks that fail and those that warn, separated by commas."""
    fails = {check: "failed" for check in failed.split(", ") if check}
    spoken = fails | {check: "warning" for check in warning.split(", ") if check}

    def add(plant: Callable[[Matrix], None]) -> None:
        FORGERIES.append(Forgery(name, plant, level, spoken))

    return add


# --- Without new digests -------------------------------------------------------------------


@forgery("a byte of a file is flipped", "digests", failed="curves, files")
def _(matrix: Matrix) -> None:
    path = matrix.place("ppo", 0) / "policy-0.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@forgery("a file is left out", "digests", failed="curves, files")
def _(matrix: Matrix) -> None:
    (matrix.place("ppo", 0) / "metrics.csv").unlink()


# --- Where and how often a run was evaluated -----------------------------------------------


@forgery(
    "one method shows its first and last evaluation alone",
    failed="evaluation points, evaluation steps, metrics and policies",
)
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.keep_points([0, len(cell.returns) - 1])
        cell.save()


@forgery(
    "an evaluation is left out",
    failed="evaluation points, evaluation steps, metrics and policies",
    warning="curves",
)
def _(matrix: Matrix) -> None:
    matrix.change("ppo", 0, lambda cell: cell.keep_points([0, 1, 2, 3, 5, 6, 7, 8, 9, 10]))


@forgery(
    "a better evaluation is appended at the same step",
    failed="evaluation points, evaluation steps",
    warning="curves",
)
def _(matrix: Matrix) -> None:
    def append(cell: Forged) -> None:
        cell.keep_points([*range(11), 10])
        better = cell.returns.copy()
        better[-1] += 5
        cell.set_returns(better)

    matrix.change("ppo", 0, append)


@forgery(
    "evaluations stand in another order",
    failed="evaluation points, evaluation steps, ledgers, metrics and policies",
    warning="seconds",
)
def _(matrix: Matrix) -> None:
    matrix.change("ppo", 0, lambda cell: cell.keep_points([0, 2, 1, *range(3, 11)]))


@forgery("steps of all evaluations but the last are halved", failed="ledgers, metrics and policies")
def _(matrix: Matrix) -> None:
    def halve(row: Row) -> None:
        for name in ("env_steps", "train_steps"):
            row[name] //= 2

    for cell in matrix.every("ppo"):
        cell.edit(halve, range(len(cell.curve) - 2))
        cell.save()


@forgery(
    "steps and updates of all evaluations but the last are halved",
    failed="evaluation points, ledgers, metrics and policies",
)
def _(matrix: Matrix) -> None:
    def halve(row: Row) -> None:
        for name in ("env_steps", "train_steps", "updates"):
            row[name] //= 2

    for cell in matrix.every("ppo"):
        cell.edit(halve, range(len(cell.curve) - 2))
        cell.save()


@forgery("the best 16 of 32 episodes are kept", failed="evaluation episodes, evaluation steps")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.set_returns(np.sort(cell.returns, axis=2)[:, :, 16:])
        cell.save()


# --- What was counted ----------------------------------------------------------------------


@forgery("updates of the curve are not its steps", failed="ledgers, evaluation points")
def _(matrix: Matrix) -> None:
    def fewer(row: Row) -> None:
        row["updates"] -= row["updates"] // 10

    matrix.change("ppo", 0, lambda cell: cell.edit(fewer))


@forgery("updates of the status are not its steps", failed="ledgers")
def _(matrix: Matrix) -> None:
    def fewer(cell: Forged) -> None:
        cell.status["updates"] -= 1

    matrix.change("ppo", 0, fewer)


@forgery("done after one of 1000 updates", failed="ledgers")
def _(matrix: Matrix) -> None:
    def stop(cell: Forged) -> None:
        cell.status |= {"updates": 1, "total_updates": 1000}

    matrix.change("ppo", 0, stop)


@forgery("a middle row has other steps of training", failed="ledgers")
def _(matrix: Matrix) -> None:
    def shift(row: Row) -> None:
        row["train_steps"] -= 15360
        row["decoder_data_steps"] += 15360

    matrix.change("gorl-fm", 1, lambda cell: cell.edit(shift, (10, 11)))


@forgery("a warm-up after training began", failed="ledgers")
def _(matrix: Matrix) -> None:
    def shift(row: Row) -> None:
        row["train_steps"] -= 15360
        row["warmup_steps"] += 15360

    def late(cell: Forged) -> None:
        cell.edit(shift, range(10, len(cell.curve)))
        ledger = cell.status["ledger"]
        ledger["train_steps"] -= 15360
        ledger["warmup_steps"] += 15360

    matrix.change("ppo", 1, late)


@forgery("evaluation steps are halved", failed="evaluation steps")
def _(matrix: Matrix) -> None:
    def halve(row: Row) -> None:
        row["eval_steps"] //= 2

    def everywhere(cell: Forged) -> None:
        cell.edit(halve)
        cell.status["ledger"]["eval_steps"] //= 2

    matrix.change("ppo", 2, everywhere)


@forgery("evaluation steps are nothing", failed="evaluation steps")
def _(matrix: Matrix) -> None:
    def everywhere(cell: Forged) -> None:
        cell.edit(lambda row: row.update(eval_steps=0))
        cell.status["ledger"]["eval_steps"] = 0

    matrix.change("ppo", 2, everywhere)


@forgery("evaluation steps of one evaluation are another's", failed="evaluation steps")
def _(matrix: Matrix) -> None:
    def move(row: Row) -> None:
        row["eval_steps"] += 6400

    matrix.change("ppo", 2, lambda cell: cell.edit(move, (8, 9)))


@forgery("evaluation steps are halved, where no states were kept", failed="evaluation steps")
def _(matrix: Matrix) -> None:
    def everywhere(cell: Forged) -> None:
        (cell.path / "states.npz").unlink()
        cell.edit(lambda row: row.update(eval_steps=row["eval_steps"] // 2))
        cell.status["ledger"]["eval_steps"] //= 2

    matrix.change("ppo", 2, everywhere)


@forgery("one evaluation says fewer steps", warning="evaluation steps")
def _(matrix: Matrix) -> None:
    def fewer(row: Row) -> None:
        row["eval_steps"] -= 6400

    def later(cell: Forged) -> None:
        cell.edit(fewer, range(10, len(cell.curve)))
        cell.status["ledger"]["eval_steps"] -= 6400

    matrix.change("ppo", 2, later)


@forgery("the stage goes back", failed="ledgers, metrics and policies")
def _(matrix: Matrix) -> None:
    def back(cell: Forged) -> None:
        cell.edit(lambda row: row.update(stage=0), (18, 19))

    matrix.change("gorl-fm", 0, back)


# --- What ran ------------------------------------------------------------------------------


@forgery("one run.json has another fingerprint", failed="fingerprints")
def _(matrix: Matrix) -> None:
    def other(cell: Forged) -> None:
        cell.configuration["fingerprint"] = "0123456789abcdef"

    matrix.change("ppo", 0, other)


@forgery("one seed names another learning rate", failed="every cell, hyper-parameters")
def _(matrix: Matrix) -> None:
    def other(cell: Forged) -> None:
        cell.configuration["hyperparameters"]["learning_rate"] = 3e-4

    matrix.change("ppo", 0, other)


@forgery("all seeds name another clip than was used", failed="hyper-parameters")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.configuration["hyperparameters"]["clip"] = 0.2
        cell.save()


@forgery("a run on a GPU is called native", failed="engine and device")
def _(matrix: Matrix) -> None:
    for algorithm in ALGORITHMS:
        for cell in matrix.every(algorithm):
            for start in cell.run["provenance"]:
                start["device"]["platform"] = "gpu"
            cell.save()


@forgery("a run of engine jax is called native", failed="engine and device")
def _(matrix: Matrix) -> None:
    for algorithm in ALGORITHMS:
        for cell in matrix.every(algorithm):
            command = cell.run["provenance"][0]["command"]
            command[command.index("native")] = "jax"
            cell.save()


@forgery(
    "a run on a CPU is called warp",
    failed="engine, engine and device, every cell",
    warning="hyper-parameters",
)
def _(matrix: Matrix) -> None:
    def warp(cell: Forged) -> None:
        cell.configuration["engine"] = "warp"
        cell.run["provenance"][0]["command"] = ["suite", "ablate"]

    matrix.change("ppo", 0, warp)


@forgery("the decoder is another run's, which run.json does not name", failed="decoders")
def _(matrix: Matrix) -> None:
    """As `adopt` leaves it: the policy of the first stage has a fitted decoder."""
    _graft_decoder(matrix.place("gorl-fm", 0), matrix.place("gorl-fm", 1))


@forgery(
    "run.json names a decoder that was not used",
    failed="decoders, every cell",
    warning="hyper-parameters",
)
def _(matrix: Matrix) -> None:
    def name(cell: Forged) -> None:
        source = {"run": "source", "cell": "x", "stage": 2, "digest": "0" * 64}
        cell.configuration["decoder"] = source

    matrix.change("gorl-fm", 0, name)


# --- What lies beside the curve ------------------------------------------------------------


@forgery("metrics.csv is another seed's", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    matrix.take("metrics.csv", "ppo", 0, matrix.place("ppo", 1))


@forgery("metrics.csv is another method's", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    matrix.take("metrics.csv", "ppo", 0, matrix.place("gorl-fm", 0))


@forgery("metrics.csv goes on beyond the run", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    def more(cell: Forged) -> None:
        cell.metrics.append({**cell.metrics[-1], "env_steps": 10**7})

    matrix.change("ppo", 0, more)


@forgery("a kept policy is another seed's", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    matrix.take("policy-0.npz", "ppo", 0, matrix.place("ppo", 1))


@forgery("a kept policy is another method's", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    matrix.take("policy-0.npz", "ppo", 0, matrix.place("gorl-fm", 0))


@forgery("a kept policy is of another stage", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    place = matrix.place("gorl-fm", 0)
    shutil.copy(place / "policy-1.npz", place / "policy-3.npz")
    seal(place)


@forgery("states.npz is another method's", failed="metrics and policies")
def _(matrix: Matrix) -> None:
    matrix.take("states.npz", "ppo", 0, matrix.place("gorl-fm", 2))


# --- What was measured twice ---------------------------------------------------------------


@forgery("a seed has another seed's episodes", failed="every cell", warning="episodes")
def _(matrix: Matrix) -> None:
    other = matrix.cell("ppo", 1).returns
    matrix.change("ppo", 0, lambda cell: cell.set_returns(other))


@forgery("a seed has another seed's episodes in another order", warning="episodes")
def _(matrix: Matrix) -> None:
    other = matrix.cell("ppo", 1).returns[:, :, ::-1]
    matrix.change("ppo", 0, lambda cell: cell.set_returns(_shuffled(other)))


@forgery("a seed has another seed's episodes, nudged by 0.001", warning="episodes")
def _(matrix: Matrix) -> None:
    other = matrix.cell("ppo", 1).returns
    noise = np.random.default_rng(0).uniform(0, 1e-3, other.shape)
    matrix.change("ppo", 0, lambda cell: cell.set_returns(_shuffled(other) + noise))


@forgery("a seed has another seed's episodes and 50 more", warning="episodes")
def _(matrix: Matrix) -> None:
    other = matrix.cell("ppo", 1).returns
    matrix.change("ppo", 0, lambda cell: cell.set_returns(_shuffled(other) + 50))


@forgery("a method has another method's episodes", warning="episodes")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.set_returns(matrix.cell("gorl-identity", cell.configuration["seed"]).returns)
        cell.save()


@forgery("the last evaluations are another seed's", warning="episodes")
def _(matrix: Matrix) -> None:
    other = matrix.cell("gorl-fm", 1).returns

    def end(cell: Forged) -> None:
        returns = cell.returns.copy()
        returns[-2:] = other[-2:]
        cell.set_returns(returns)

    matrix.change("gorl-fm", 0, end)


# --- How long it took ----------------------------------------------------------------------


@forgery("no seconds", warning="seconds")
def _(matrix: Matrix) -> None:
    def at_once(cell: Forged) -> None:
        nothing = {"wall_seconds": 0.0, "train_seconds": 0.0, "eval_seconds": 0.0}
        cell.edit(lambda row: row.update(nothing))
        cell.status["wall_seconds"] = 0.0

    matrix.change("ppo", 0, at_once)


@forgery("seconds that go back", warning="seconds")
def _(matrix: Matrix) -> None:
    matrix.change(
        "ppo", 0, lambda cell: cell.edit(lambda row: row.update(wall_seconds=5.0), (20, 21))
    )


# --- What no number contradicts ------------------------------------------------------------


@forgery("50 is added to every return", "recompute")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.set_returns(cell.returns + 50)
        cell.save()


@forgery("the numbers of two seeds are exchanged", "recompute")
def _(matrix: Matrix) -> None:
    one, other = (matrix.cell("ppo", seed).returns for seed in (0, 1))
    matrix.change("ppo", 0, lambda cell: cell.set_returns(other))
    matrix.change("ppo", 1, lambda cell: cell.set_returns(one))


@forgery("the numbers of two methods are exchanged", "recompute")
def _(matrix: Matrix) -> None:
    for seed in range(3):
        one, other = (matrix.cell(name, seed).returns for name in ("ppo", "gorl-identity"))
        matrix.change("ppo", seed, lambda cell, new=other: cell.set_returns(new))  # type: ignore[misc]
        matrix.change("gorl-identity", seed, lambda cell, new=one: cell.set_returns(new))  # type: ignore[misc]


@forgery("the modes are exchanged", "recompute")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        cell.set_returns(cell.returns[:, ::-1])
        cell.save()


@forgery("the best 16 of 32 episodes are kept, each twice", "recompute")
def _(matrix: Matrix) -> None:
    for cell in matrix.every("ppo"):
        best = np.sort(cell.returns, axis=2)[:, :, 16:]
        cell.set_returns(np.concatenate([best, best], axis=2))
        cell.save()


@forgery("the last evaluation is made up", "recompute")
def _(matrix: Matrix) -> None:
    def better(cell: Forged) -> None:
        returns = cell.returns.copy()
        returns[-1] = np.random.default_rng(1).uniform(500, 900, returns[-1].shape)
        cell.set_returns(returns)

    matrix.change("ppo", 0, better)


@forgery("a run of other settings, whole, is called this one", "retrain")
def _(matrix: Matrix) -> None:
    """PPO with GoRL's settings, under the name of PPO with its own."""
    for seed in range(3):
        place = matrix.place("ppo", seed)
        source = STORED / TASK / "ppo-matched" / place.name
        for path in source.iterdir():
            if path.name != "run.json":
                shutil.copy(path, place)
        seal(place)


@forgery("all seconds are halved", "nothing")
def _(matrix: Matrix) -> None:
    def halve(row: Row) -> None:
        for name in ("wall_seconds", "train_seconds", "eval_seconds"):
            row[name] /= 2

    def everywhere(cell: Forged) -> None:
        cell.edit(halve)
        cell.status["wall_seconds"] /= 2

    matrix.change("ppo", 0, everywhere)


def _shuffled(returns: np.ndarray) -> np.ndarray:
    return np.random.default_rng(2).permuted(returns, axis=2)


def _graft_decoder(into: Path, source: Path) -> None:
    """Gives the policy of a first stage the fitted decoder of another cell's second."""
    kept, fitted = into / "policy-0.npz", source / "policy-1.npz"
    with np.load(kept) as arrays, np.load(fitted) as others:
        mixed = {name: arrays[name] for name in arrays.files}
        for name in arrays.files:
            if name != "manifest" and arrays[name].shape == others[name].shape:
                mixed[name] = others[name]
    np.savez(kept, **mixed)
    seal(into)


# --- The tests -----------------------------------------------------------------------------


BEFORE = {"notes of the protocol": "warning", "tuning effort": "warning"}
"""What an audit says of the runs as they are."""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """A copy of three stored methods with three seeds each, all of whose files are there."""
    shutil.copy(STORED.parent / "ablation.json", tmp_path)
    path = tmp_path / STORED.name
    path.mkdir()
    shutil.copy(STORED / "protocol.json", path)
    for algorithm in ALGORITHMS:
        shutil.copytree(STORED / TASK / algorithm, path / TASK / algorithm)
    return Matrix(path, TASK)


def spoken(path: Path) -> Spoken:
    """Returns what an audit says that it does not say of the runs as they are.

    That the steps of a damaged run are not judged is no word against it. Whatever fails names a
    cell.
    """
    checks = audit(load_results([path], refuse=False))
    said = {each.name: each.verdict for each in checks if each.verdict != "ok"}
    unclear = [e.name for e in checks if e.verdict == "failed" and f"{TASK}/" not in e.text]
    assert not unclear
    if said.get("equal steps") == "warning":
        del said["equal steps"]
    return {check: verdict for check, verdict in said.items() if BEFORE.get(check) != verdict}


def test_what_is_not_forged_passes(matrix: Matrix) -> None:
    assert spoken(matrix.path) == {}


@pytest.mark.parametrize("each", FORGERIES, ids=lambda each: each.name)
def test_a_forgery(matrix: Matrix, each: Forgery) -> None:
    each.plant(matrix)
    assert spoken(matrix.path) == each.spoken
    assert bool(each.spoken) == (each.level in ("digests", "consistency"))


def test_the_table_of_the_documentation() -> None:
    """Every forgery has its row, in this order, and no row is without one."""
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    expected = [each.row for each in FORGERIES]
    assert rows == expected, "the table should be:\n" + "\n".join(expected)


# --- Two directories that hold the same cells ----------------------------------------------


def _other_returns(cell: Forged) -> None:
    cell.set_returns(cell.returns + 5)


def _other_returns_elsewhere(cell: Forged) -> None:
    """Another machine explains other returns, but not after the same training."""
    cell.set_returns(cell.returns + 5)
    cell.run["provenance"][0]["cpus_available"] = 64


def _other_order(cell: Forged) -> None:
    """Leaves every mean and spread as it was."""
    cell.returns = cell.returns[:, :, ::-1]


def _other_metrics(cell: Forged) -> None:
    cell.metrics[3]["std"] = 0.5


@pytest.fixture
def pair(matrix: Matrix, tmp_path: Path) -> tuple[Matrix, Matrix]:
    """Two directories of one name with the same cells."""
    copy = shutil.copytree(matrix.path, tmp_path / "copy" / matrix.path.name)
    return matrix, Matrix(copy, TASK)


CONFLICTS = (_other_returns, _other_returns_elsewhere, _other_order, _other_metrics)


@pytest.mark.parametrize("edit", CONFLICTS, ids=lambda edit: edit.__name__)
def test_directories_that_contradict_each_other(
    pair: tuple[Matrix, Matrix], edit: Callable[[Forged], None]
) -> None:
    one, other = pair
    for seed in range(3):
        other.change("ppo", seed, edit)
    found = [load_results(paths, refuse=False) for paths in _both_ways(one, other)]
    for results in found:
        (text,) = [each.text for each in audit(results) if each.name == "repeated cells"]
        assert "hold different results of the same settings: HopperStand seed 0, " in text
        assert {"repeated cells"} == {e.name for e in audit(results) if e.verdict == "failed"}
    shown = [[(run.algorithm, run.run_id, run.directory) for run in each.runs] for each in found]
    assert shown[0] == shown[1], "the order of the arguments decides"


def test_a_damaged_copy_that_says_otherwise(pair: tuple[Matrix, Matrix]) -> None:
    one, other = pair
    cell = other.cell("ppo", 1)
    digests = (cell.path / "digests.json").read_bytes()
    _other_returns(cell)
    cell.save()
    (cell.path / "digests.json").write_bytes(digests)
    for paths in _both_ways(one, other):
        checks = {each.name: each for each in audit(load_results(paths, refuse=False))}
        assert checks["repeated cells"].verdict == "failed"
        assert "HopperStand/ppo/seed-001 has other results in" in checks["repeated cells"].text


def test_equal_copies_are_fine(pair: tuple[Matrix, Matrix]) -> None:
    for paths in _both_ways(*pair):
        said = {e.name: e.verdict for e in audit(load_results(paths, refuse=False))}
        assert said["repeated cells"] == "ok"
        assert "failed" not in said.values()


def _both_ways(one: Matrix, other: Matrix) -> list[list[Path]]:
    return [[one.path, other.path], [other.path, one.path]]
