"""The names of tasks and of sets of tasks. Cheap to import: no JAX, no MuJoCo."""

from __future__ import annotations

from envs.api import EnvError, suggestion

TASKS: tuple[str, ...] = (
    "AcrobotSwingup",
    "AcrobotSwingupSparse",
    "BallInCup",
    "CartpoleBalance",
    "CartpoleBalanceSparse",
    "CartpoleSwingup",
    "CartpoleSwingupSparse",
    "CheetahRun",
    "FingerSpin",
    "FingerTurnEasy",
    "FingerTurnHard",
    "FishSwim",
    "HopperHop",
    "HopperStand",
    "HumanoidStand",
    "HumanoidWalk",
    "HumanoidRun",
    "PendulumSwingup",
    "PointMass",
    "ReacherEasy",
    "ReacherHard",
    "SwimmerSwimmer6",
    "WalkerRun",
    "WalkerStand",
    "WalkerWalk",
)
"""The dm_control suite of MuJoCo Playground: what loads without a download."""

TASK_SETS: dict[str, tuple[str, ...]] = {
    "dmc6": (
        "CheetahRun",
        "FingerSpin",
        "FingerTurnHard",
        "FishSwim",
        "HopperStand",
        "WalkerWalk",
    ),
    "tuning": ("CartpoleSwingup", "ReacherHard"),
}
"""Tasks that are named together.

`tuning` is for `suite tune`: settings are found on it that are then judged on dmc6. No task of it
shares a body with one of those. Its physics is cheap, and both get off the floor early in a budget
as small as lite's: within .2M and .6M steps, where PPO was at it still after 1.6M on BallInCup and
PendulumSwingup. One has a dense reward and a local optimum to get out of, which PPO with lite's
settings had not left after 2M steps; the other a sparse one, at a place that every episode draws
anew, as in FingerTurnHard and FishSwim.
"""


def resolve_tasks(spec: str) -> tuple[str, ...]:
    """Expands a comma-separated list of tasks and task sets.

    Args:
        spec: such as "dmc6" or "CheetahRun,dmc6"; spaces around names are ignored.

    Returns:
        Task names in the order given, each once.

    Raises:
        EnvError: for an unknown name, or when there is none.
    """
    names = [name for name in (part.strip() for part in spec.split(",")) if name]
    if not names:
        raise EnvError(f"no task in {spec!r}; name tasks or sets, such as CheetahRun,dmc6")
    return tuple(dict.fromkeys(task for name in names for task in _expand(name)))


def _expand(name: str) -> tuple[str, ...]:
    if name in TASK_SETS:
        return TASK_SETS[name]
    if name in TASKS:
        return (name,)
    hint = suggestion(name, (*TASK_SETS, *TASKS))
    raise EnvError(f"unknown task {name!r}{hint}; `suite list tasks` shows all")
