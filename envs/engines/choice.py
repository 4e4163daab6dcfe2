"""The engines that step the physics, behind one function."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from envs.api import EnvError, Task, suggestion
from envs.names import TASKS
from envs.own_tasks import OwnTask, own_tasks
from envs.tasks import resolve_tasks

if TYPE_CHECKING:
    import jax

ENGINES: tuple[str, ...] = ("jax", "warp", "native")
"""`jax`: MJX in JAX, any device. `warp`: MJX-Warp, NVIDIA GPUs; not deterministic.
`native`: MuJoCo in C on CPU threads."""

AUTO = "auto"


def resolve_engine(name: str = AUTO) -> str:
    """Returns the engine to use on this machine.

    Args:
        name: one of `ENGINES`, or "auto": `native` on a CPU, `jax` on any other
            device.

    Raises:
        EnvError: for an unknown engine, or one that does not suit JAX's device.
    """
    if name not in (AUTO, *ENGINES):
        hint = suggestion(name, (AUTO, *ENGINES))
        raise EnvError(f"unknown engine {name!r}{hint}; one of {', '.join((AUTO, *ENGINES))}")
    device = _device()
    if name == AUTO:
        # On a GPU it is to be measured whether warp beats jax; until then the
        # deterministic one.
        return "native" if device.platform == "cpu" else "jax"
    if name == "warp" and not _is_nvidia(device):
        raise EnvError(
            "engine 'warp' needs an NVIDIA GPU; on the CPU it takes about a tenth of the"
            " environment steps per second of 'native' (CheetahRun on 2 cores: 7,000 to"
            " 15,000 against over 100,000): use --engine native"
        )
    if name == "native" and device.platform != "cpu":
        raise EnvError(
            "engine 'native' runs on JAX's CPU backend, but JAX computes on"
            f" {device.platform}: use --engine jax, or set JAX_PLATFORMS=cpu"
        )
    return name


def load_task(
    name: str,
    engine: str = AUTO,
    *,
    threads: int | None = None,
    allow_slow_warp: bool = False,
    worlds: int = 0,
) -> Task:
    """Loads one task.

    Args:
        name: as `envs.tasks.resolve_tasks` returns it.
        engine: as in `resolve_engine`.
        threads: CPU threads of the native engine; one per available CPU by default.
            It changes the speed, not the results.
        allow_slow_warp: lets `warp` run without a GPU, for comparisons.
        worlds: environments that one call steps at most, all seeds together, for `warp`.

    Raises:
        EnvError: for an unknown task or engine, an engine that does not suit JAX's
            device, or a task that cannot be loaded or stepped by the engine.
    """
    if not (engine == "warp" and allow_slow_warp):
        engine = resolve_engine(engine)
    (name,) = resolve_tasks(name)
    if engine == "native":
        from envs.engines.native import NativeTask

        return NativeTask(name, threads)
    from envs.engines.playground import PlaygroundTask

    return PlaygroundTask(name, engine, worlds=worlds)


def check_task(name: str, engine: str) -> None:
    """Runs a task that is not of the dm_control suite for a few steps; once in a process.

    Args:
        name: as in `load_task`.
        engine: one of `ENGINES`.

    Raises:
        EnvError: it cannot be loaded, gives numbers that are not finite, or does not do on the
            native engine what it does on MJX.
    """
    if name not in TASKS:
        _check_task(name, engine, own_tasks().get(name))


def source_digest(name: str) -> str | None:
    """Returns the SHA-256 of the file with a task's class; None for Playground's own tasks."""
    if name not in own_tasks():
        return None
    from envs.engines import environments

    return environments.source_digest(name)


@functools.cache
def _check_task(name: str, engine: str, own: OwnTask | None) -> None:
    del own  # another file's task of the same name is another task
    from envs.engines import agreement

    agreement.check_task(load_task(name, engine))


def _device() -> jax.Device:
    import jax

    return jax.devices()[0]


def _is_nvidia(device: jax.Device) -> bool:
    return device.platform in ("gpu", "cuda") and "cuda" in device.client.platform_version.lower()
