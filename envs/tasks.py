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
