"""Environments with a memory: what is kept between steps, and that nothing is lost by it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly
from mujoco import mjx
from mujoco_playground._src import mjx_env

from docs.examples.pendulum_target import PendulumTarget
from envs import own_tasks
from envs.api import EnvError
from envs.engines import native
from envs.engines.choice import check_task, load_task
from envs.engines.playground import PlaygroundTask
from envs.own_tasks import OwnTask, register
from envs.vector import VectorEnv


class Remembering(PendulumTarget):
    """What it sees and pays depends on all that a state can hold, and on nothing of `junk`.

    Episodes end after `END` steps.
    """

    END = 3

    def reset(self, rng: jax.Array) -> mjx_env.State:
        """Adds memories to the state."""
        start = super().reset(rng)
        info = {
            **start.info,
            "rng": rng,
            "steps": jnp.zeros(()),
            "last": jnp.zeros(1),
            "older": jnp.zeros(1),
            "junk": jnp.arange(1000.0),
        }
        metrics = {"tip": jnp.zeros(()), "unread": jnp.zeros(())}
        return start.replace(info=info, metrics=metrics, obs=self._dict(start.obs, info, 0.0))

    def step(self, state: mjx_env.State, action: jax.Array) -> mjx_env.State:
        """Reads every kind of memory."""
        push = state.data.xfrc_applied.at[1, 4].set(0.1 * state.info["steps"])
        before = state.data.geom_xpos[0, 0]  # derived from the state before the step
        after = super().step(state.replace(data=state.data.replace(xfrc_applied=push)), action)
        rng, key = jax.random.split(state.info["rng"])
        info = {
            **state.info,
            "rng": rng,
            "steps": state.info["steps"] + 1,
            "last": action,
            "older": state.info["last"],
            "junk": state.info["junk"] + 1,
        }
        moved = after.data.geom_xpos[0, 0] - before
        noise = jax.random.uniform(key)
        return after.replace(
            info=info,
            metrics={"tip": state.metrics["tip"] + moved, "unread": moved},
            obs=self._dict(after.obs, state.info, noise),
            reward=after.reward + state.metrics["tip"],
            done=jnp.where(info["steps"] >= self.END, 1.0, 0.0),
        )

    def _dict(self, obs: jax.Array, info: dict[str, Any], noise: Any) -> dict[str, jax.Array]:
        seen = jnp.concatenate([obs, info["older"], jnp.reshape(noise, (1,))])
        return {"state": seen, "privileged_state": jnp.zeros(7)}


MEMORIES = ("info['last']", "info['older']", "info['rng']", "info['steps']", "info['target']")


class ReadsContacts(PendulumTarget):
    """Asks for what only MJX has."""

    def step(self, state: mjx_env.State, action: jax.Array) -> mjx_env.State:
        """Adds the least distance of a contact."""
        after = super().step(state, action)
        return after.replace(reward=after.reward + jnp.sum(after.data._impl.contact.dist))


class Randomized(PendulumTarget):
    """Steps a model other than its own."""

    def step(self, state: mjx_env.State, action: jax.Array) -> mjx_env.State:
        """Steps a heavier pole."""
        model: mjx.Model = self._mjx_model
        self._mjx_model = model.replace(body_mass=model.body_mass * 2)
        try:
            return super().step(state, action)
        finally:
            self._mjx_model = model


class NeverFinite(PendulumTarget):
    """Keeps a number that is infinite until there is a better one, as a best distance may be."""

    def reset(self, rng: jax.Array) -> mjx_env.State:
        """Adds the number."""
        start = super().reset(rng)
        return start.replace(info={**start.info, "best": jnp.asarray(jnp.inf)})

    def step(self, state: mjx_env.State, action: jax.Array) -> mjx_env.State:
        """Pays for an improvement on it."""
        after = super().step(state, action)
        best = jnp.minimum(state.info["best"], 1 - after.reward)
        return after.replace(info={**after.info, "best": best}, reward=after.reward - best)


def offer(monkeypatch: pytest.MonkeyPatch, cls: type, digest: str = "0") -> str:
    """Registers a class as a task until the test ends, and returns its name."""
    monkeypatch.setattr(own_tasks, "_registered", dict(own_tasks._registered))
    register(OwnTask(cls.__name__, f"my_env.py:{cls.__name__}", lambda: cls, digest))
    return cls.__name__


def load(monkeypatch: pytest.MonkeyPatch, cls: type, engine: str) -> PlaygroundTask:
    task = load_task(offer(monkeypatch, cls), engine)
    assert isinstance(task, PlaygroundTask)
    return task


def test_on_mjx_a_task_is_its_environment_to_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the environment itself, whose whole state goes from step to step."""
    task = load(monkeypatch, Remembering, "jax")
    env = Remembering()
    key = jax.random.key(3)
    ours, theirs = quickly(task.reset)(key), quickly(env.reset)(jax.random.key_data(key))
    step, env_step = quickly(task.step), quickly(env.step)
    for number in range(4):
        assert task.obs_size == 6
        np.testing.assert_allclose(ours.obs, theirs.obs["state"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours.reward, theirs.reward, rtol=1e-5, atol=1e-6)
        assert ours.done == theirs.done == (number >= 3)
        action = jnp.full(1, 0.9 - 0.5 * number)
        ours, theirs = step(ours, action), env_step(theirs, action)


def test_only_what_a_step_reads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    start = load(monkeypatch, Remembering, "native").reset(jax.random.key(0))
    memories = {f".{each}" for each in MEMORIES}
    assert set(start.physics["kept"]) == {*memories, ".data.geom_xpos", ".metrics['tip']"}
    plain = load(monkeypatch, PendulumTarget, "native").reset(jax.random.key(0))
    assert set(plain.physics["kept"]) == {".info['target']"}


def test_natively_a_task_does_what_it_does_on_mjx(monkeypatch: pytest.MonkeyPatch) -> None:
    check_task(offer(monkeypatch, Remembering), "native")


def test_a_native_task_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = native.prepare_model

    def on_the_moon(model: Any) -> Any:
        prepared = prepare(model)
        prepared.opt.gravity[2] = -1.6
        return prepared

    monkeypatch.setattr(native, "prepare_model", on_the_moon)
    name = offer(monkeypatch, PendulumTarget, digest="moon")
    with pytest.raises(EnvError, match=r"observation differs by up to .* use --engine jax$"):
        check_task(name, "native")


def test_an_episode_starts_with_a_new_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = VectorEnv(load(monkeypatch, Remembering, "native"), 4, bank_size=8)
    state = quickly(envs.reset)(jax.random.key(0))
    step = quickly(envs.step)
    seen = []
    for number in range(7):
        state, transition = step(state, jnp.zeros((4, 1)), jax.random.key(number))
        assert np.all(transition.terminated == (number in (2, 5)))
        seen.append(state.task.physics["kept"][".info['steps']"][0])
    assert seen == [1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (ReadsContacts, r"does not offer mjx.Data._impl here \(test_carried.py:\d+\);"),
        (Randomized, r"steps no other model than the environment's own \("),
    ],
)
def test_what_only_mjx_has_is_refused_natively(
    monkeypatch: pytest.MonkeyPatch, cls: type, why: str
) -> None:
    name = offer(monkeypatch, cls)
    originals = mjx.step, mjx.forward, mjx.make_data
    with pytest.raises(EnvError, match=why + r".*use --engine jax$") as error:
        load_task(name, "native")
    assert "\n" not in str(error.value)
    assert (mjx.step, mjx.forward, mjx.make_data) == originals


def test_a_memory_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a number is not finite an episode ends, so that this one would end at every step."""
    name = offer(monkeypatch, NeverFinite)
    with pytest.raises(EnvError, match=r"reset gives a number that is not finite, in info\['best"):
        check_task(name, "native")
