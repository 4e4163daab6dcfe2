"""What Playground's tasks are called, and sets of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

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

LOCOMOTION: tuple[str, ...] = (
    "ApolloJoystickFlatTerrain",
    "BarkourJoystick",
    "BerkeleyHumanoidJoystickFlatTerrain",
    "BerkeleyHumanoidJoystickRoughTerrain",
    "G1JoystickFlatTerrain",
    "G1JoystickRoughTerrain",
    "Go1Footstand",
    "Go1Getup",
    "Go1Handstand",
    "Go1JoystickFlatTerrain",
    "Go1JoystickRoughTerrain",
    "H1InplaceGaitTracking",
    "H1JoystickGaitTracking",
    "Op3Joystick",
    "SpotFlatTerrainJoystick",
    "SpotGetup",
    "SpotJoystickGaitTracking",
    "T1JoystickFlatTerrain",
    "T1JoystickRoughTerrain",
)
"""Playground's legged robots, whose models are in the MuJoCo Menagerie, a download."""

MANIPULATION: tuple[str, ...] = (
    "AeroCubeRotateZAxis",
    "AlohaHandOver",
    "AlohaSinglePegInsertion",
    "LeapCubeReorient",
    "LeapCubeRotateZAxis",
    "PandaOpenCabinet",
    "PandaPickCube",
    "PandaPickCubeCartesian",
    "PandaPickCubeOrientation",
    "PandaRobotiqPushCube",
)
"""Playground's arms and hands, with models of the Menagerie too."""

SUITES: Mapping[str, tuple[str, ...]] = {
    "dm_control_suite": TASKS,
    "locomotion": LOCOMOTION,
    "manipulation": MANIPULATION,
}
"""The tasks of Playground, by the name of its suite."""

PLAYGROUND: tuple[str, ...] = TASKS + LOCOMOTION + MANIPULATION

CANNOT_RUN: Mapping[str, str] = {
    "AlohaSinglePegInsertion": "it repeats each action twice, which no method here is told",
    "PandaRobotiqPushCube": "it repeats each action four times, which no method here is told",
}
"""Tasks of Playground that no engine runs here, each with the reason."""

TASK_SETS: dict[str, tuple[str, ...]] = {
    "dmc6": (
        "CheetahRun",
        "FingerSpin",
        "FingerTurnHard",
        "FishSwim",
        "HopperStand",
        "WalkerWalk",
    ),
    "humanoid2": ("HumanoidStand", "HumanoidRun"),
    "tuning": ("CartpoleSwingup", "ReacherHard"),
}


def is_name(text: str) -> bool:
    """Whether a task may be called that, and so the folder of its runs."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) is not None
