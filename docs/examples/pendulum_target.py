"""A task in one file: hold a pendulum at an angle that is drawn anew for every episode.

    suite run --algos ppo --tasks ./pendulum_target.py:PendulumTarget --protocol smoke

The class has the interface of MuJoCo Playground's environments (`MjxEnv`): pure JAX functions
`reset` and `step` of one environment, and a MuJoCo model. The suite runs many of them at once, cuts
episodes at `episode_length`, starts them again, and counts the steps.
"""

import jax
import jax.numpy as jnp
import mujoco
from ml_collections import config_dict
from mujoco import mjx
from mujoco_playground import MjxEnv, State
from mujoco_playground._src import mjx_env

MODEL = """
<mujoco>
  <option integrator="implicitfast" iterations="4" ls_iterations="8"/>
  <worldbody>
    <body name="pole" pos="0 0 1">
      <joint name="hinge" type="hinge" axis="0 1 0" damping="0.1"/>
      <geom type="capsule" fromto="0 0 0 0 0 0.5" size="0.03" mass="1" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="hinge" gear="3" ctrlrange="-1 1" ctrllimited="true"/>
  </actuator>
</mujoco>
"""


def default_config() -> config_dict.ConfigDict:
    """Returns the settings. `impl` lets the suite choose between MJX in JAX and on Warp."""
    return config_dict.create(
        ctrl_dt=0.02,  # seconds that an action lasts
        sim_dt=0.01,  # seconds of a step of the physics
        episode_length=200,  # actions, after which a time limit ends an episode
        impl="jax",
    )


class PendulumTarget(MjxEnv):
    """The nearer the pole is to the target angle, the more reward. The action is a torque."""

    reward_range = (0.0, 1.0)
    """Of one step. With it, reports turn returns into scores; without, they show returns."""

    def __init__(self, config: config_dict.ConfigDict | None = None) -> None:
        super().__init__(config or default_config())
        self._mj_model = mujoco.MjModel.from_xml_string(MODEL)
        self._mj_model.opt.timestep = self.sim_dt
        self._mjx_model = mjx.put_model(self._mj_model, impl=self._config.impl)

    def reset(self, rng: jax.Array) -> State:
        """Draws a start: the pole hangs somewhere, the target is somewhere else."""
        angle_key, target_key = jax.random.split(rng)
        angle = jax.random.uniform(angle_key, (1,), minval=-jnp.pi, maxval=jnp.pi)
        target = jax.random.uniform(target_key, minval=-1.0, maxval=1.0)
        data = mjx_env.make_data(self.mj_model, qpos=angle, impl=self.mjx_model.impl.value)
        data = mjx.forward(self.mjx_model, data)
        info = {"target": target}  # goes from step to step with the state
        zero = jnp.zeros(())
        return State(data, self._obs(data, info), zero, zero, metrics={}, info=info)

    def step(self, state: State, action: jax.Array) -> State:
        """Takes one step with `action` [1] in [-1, 1]."""
        data = mjx_env.step(self.mjx_model, state.data, action, self.n_substeps)
        error = data.qpos[0] - state.info["target"]
        reward = (1.0 + jnp.cos(error)) / 2.0
        done = jnp.zeros(())  # 1 would end the episode for good, as a fall does
        return State(data, self._obs(data, state.info), reward, done, state.metrics, state.info)

    def _obs(self, data: mjx.Data, info: dict[str, jax.Array]) -> jax.Array:
        """Returns what the policy sees, [4]."""
        error = data.qpos[0] - info["target"]
        seen = [jnp.cos(error), jnp.sin(error), data.qvel[0] / 10.0, info["target"]]
        return jnp.stack(seen)

    @property
    def xml_path(self) -> str:
        """Nowhere: the model is in this file."""
        return ""

    @property
    def action_size(self) -> int:
        """How many numbers an action has."""
        return self.mj_model.nu

    @property
    def mj_model(self) -> mujoco.MjModel:
        """The model, for MuJoCo."""
        return self._mj_model

    @property
    def mjx_model(self) -> mjx.Model:
        """The model, for MJX."""
        return self._mjx_model
