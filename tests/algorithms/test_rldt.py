"""RLDT: its losses, its exploration, and a policy with two modes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import quickly
from references import Array, conditional_mlp, float64, numerical_gradient, slow_field, twins
from tiny import PIPELINE, SPEC, make

from algorithms.off_policy.learner import Held, Transition
from algorithms.parts.networks import Params
from algorithms.parts.normalizer import Normalizer
from algorithms.rldt import RLDT, FlowNetworks, Particles

COUNT, STATES, PARTICLES, STEPS = 6, 4, 3, 5
KEY = jax.random.key(9)


class Setting(NamedTuple):
    """An RLDT with tiny networks, and all that its loss depends on."""

    algorithm: RLDT
    networks: FlowNetworks
    held: Held[FlowNetworks]
    batch: Transition


@pytest.fixture(scope="module")
def setting() -> Setting:
    algorithm: RLDT = make(
        "rldt",
        PIPELINE,
        actor_hidden=(4,),
        critic_hidden=(4,),
        flow_steps=STEPS,
        particles=PARTICLES,
        actor_states=STATES,
        output_scale=1.0,
        temperature=0.3,
    )
    networks, before, target = map(algorithm.fresh_networks, jax.random.split(KEY, 3))
    stats = Normalizer(jnp.int32(1), jnp.full(SPEC.obs_size, 0.5), jnp.full(SPEC.obs_size, 4.0))
    keys = jax.random.split(jax.random.key(5), 3)
    obs, next_obs = 1.0 + jax.random.normal(keys[0], (2, COUNT, SPEC.obs_size))
    action = jax.random.uniform(keys[1], (COUNT, SPEC.action_size), minval=-1.0)
    reward = jax.random.normal(keys[2], (COUNT,))
    terminated = (jnp.arange(COUNT) % 3 == 0).astype(jnp.float32)
    batch = Transition(obs, action, reward, terminated, jnp.zeros(COUNT), next_obs)
    return Setting(algorithm, networks, Held(target.critic, stats, before), batch)


def normalized(obs: jax.Array) -> Array:
    return (float64(obs) - 0.5) / 2.0


def walked(policy: Params, obs: Array, x: Array, t: float) -> Array:
    """Euler steps from x at time t to time 0."""
    while t > 1e-6:
        x = x - conditional_mlp(policy, obs, x, t) / STEPS
        t -= 1.0 / STEPS
    return x


def test_particles_are_the_flows_own_and_their_points_lie_on_their_paths(
    setting: Setting,
) -> None:
    algorithm, networks = setting.algorithm, setting.networks
    obs = jnp.asarray(normalized(setting.batch.obs), jnp.float32)
    found = quickly(algorithm.draw_particles)(networks.policy, obs, KEY)
    assert {round(float(t) * STEPS) for t in found.t.ravel()} > {1, STEPS}
    for b, p in np.ndindex(COUNT, PARTICLES):
        t = float(found.t[b, p, 0])
        end = walked(networks.policy, float64(obs[b]), float64(found.start[b, p]), t)
        np.testing.assert_allclose(found.end[b, p], end, rtol=1e-4, atol=1e-5)


def value_loss(setting: Setting, critic: Params, noise: Array) -> float:
    """The critics' squared errors, one transition after another."""
    algorithm, networks, held, batch = setting
    obs, next_obs, total = normalized(batch.obs), normalized(batch.next_obs), 0.0
    for b in range(COUNT):
        values = []
        for each in noise[:, b]:
            action = walked(networks.policy, next_obs[b], each, 1.0)
            values.append(min(twins(held.target, next_obs[b], action)))
        target = float(batch.reward[b])
        if not batch.terminated[b]:
            target += algorithm.env.discount * np.mean(values)
        q = twins(critic, obs[b], float64(batch.action[b]))
        total += sum(0.5 * (each - target) ** 2 for each in q)
    return total / COUNT


def q_slope(critic: Params, obs: Array, end: Array) -> Array:
    """Gradient of the mean Q(s, a) at a [A], by differences."""

    def q(leaf: Any) -> float:
        return float(np.mean(twins(critic, obs, leaf)))

    return numerical_gradient(q, end)[0]


def policy_losses(
    setting: Setting, policy: Params, particles: Particles, phi: Array, key: jax.Array
) -> dict[str, float]:
    """Transport, straightness and trust region, particle by particle; phi is given."""
    noise_key, time_key = jax.random.split(key)
    noise = float64(jax.random.normal(noise_key, particles.end.shape))
    times = float64(jax.random.uniform(time_key, particles.t.shape))
    obs, found = normalized(setting.batch.obs), float64(particles)
    pushed = bent = moved = 0.0
    for b, p in np.ndindex(STATES, PARTICLES):
        x, t, end = found.start[b, p], found.t[b, p, 0], found.end[b, p]
        velocity = conditional_mlp(policy, obs[b], x, t)
        # Their time runs from noise at 0 to actions at 1, and their velocity with it.
        theirs, their_time = -velocity, 1.0 - t
        scale = STEPS * (1.0 - their_time)
        pushed -= theirs @ phi[b, p] / scale
        bent += np.sum((x + (1.0 - their_time) * theirs - end) ** 2) / scale**2
        s = times[b, p, 0]
        between = s * noise[b, p] + (1.0 - s) * end
        change = conditional_mlp(policy, obs[b], between, s)
        change -= conditional_mlp(setting.held.before.policy, obs[b], between, s)
        moved += np.sum(change**2)
    count = STATES * PARTICLES
    losses = {"straightness": bent / count, "drift": moved / count}
    algorithm = setting.algorithm
    losses["policy_loss"] = (
        pushed / count
        + algorithm.straightness * losses["straightness"]
        + algorithm.trust * losses["drift"]
    )
    return losses


def test_losses_and_gradients_match_a_loop(setting: Setting) -> None:
    algorithm, networks, held, batch = setting
    gradient, metrics = quickly(jax.grad(algorithm.loss, has_aux=True))(networks, held, batch, KEY)
    target_key, particle_key, policy_key = jax.random.split(KEY, 3)
    obs = held.normalizer(batch.obs)[:STATES]
    particles = quickly(algorithm.draw_particles)(networks.policy, obs, particle_key)
    found, states = float64(particles), normalized(batch.obs)
    phi = np.zeros_like(found.end)
    for b in range(STATES):
        slopes = np.stack([q_slope(networks.critic, states[b], end) for end in found.end[b]])
        landing = np.stack(
            [
                x - t[0] * conditional_mlp(networks.policy, states[b], x, t[0])
                for x, t in zip(found.start[b], found.t[b], strict=True)
            ]
        )
        temperature = algorithm.temperature * np.linalg.norm(slopes, axis=-1).mean()
        phi[b] = slow_field(landing, found.end[b], slopes, float(temperature))
    noise = jax.random.normal(target_key, (algorithm.value_samples, COUNT, SPEC.action_size))
    expected = policy_losses(setting, networks.policy, particles, phi, policy_key)
    expected["value_loss"] = value_loss(setting, networks.critic, float64(noise))
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-3, atol=1e-5)

    def of_policy(policy: Params) -> float:
        return policy_losses(setting, policy, particles, phi, policy_key)["policy_loss"]

    def of_critic(critic: Params) -> float:
        return value_loss(setting, critic, float64(noise))

    expected_gradient = numerical_gradient(of_policy, networks.policy)
    expected_gradient += numerical_gradient(of_critic, networks.critic)
    for ours, known in zip(jax.tree.leaves(gradient), expected_gradient, strict=True):
        np.testing.assert_allclose(ours, known, rtol=5e-3, atol=5e-4)


def test_exploration_is_as_wide_as_the_flow_is_bent(setting: Setting) -> None:
    algorithm, policy = setting.algorithm, setting.networks.policy
    count = 4000
    obs = jnp.ones((count, SPEC.obs_size))
    start = jnp.broadcast_to(jnp.array([1.0, -2.0, 0.5]), (count, SPEC.action_size))
    path = algorithm.flow.noisy_path(policy, obs, start, jnp.zeros((STEPS, *start.shape)))
    keys = jax.random.split(KEY)
    noise = float64(quickly(algorithm.explored)(policy, obs, path, *keys) - path[:, -1])
    last, end = float64(path[0, -3]), float64(path[0, -1])
    landing = last - 2 / STEPS * conditional_mlp(policy, np.ones(SPEC.obs_size), last, 2 / STEPS)
    bend = np.linalg.norm(end - landing)
    quiet = np.abs(noise).max(axis=-1) < 1e-5 * max(1.0, np.abs(end).max())
    assert 0.45 < quiet.mean() < 0.55
    np.testing.assert_allclose(noise[~quiet].std(axis=0), bend, rtol=0.1)


def test_the_environment_gets_actions_cut_and_the_critics_uncut() -> None:
    algorithm = make("rldt", output_scale=8.0)
    obs = jax.random.normal(KEY, (200, SPEC.obs_size))
    state = algorithm.init(KEY)
    action, extras = quickly(lambda: algorithm.act(state, obs, KEY, "sample"))()
    np.testing.assert_array_equal(action, np.clip(extras["action"], -1.0, 1.0))
    assert np.abs(extras["action"]).max() > 1.5
    still, nothing = quickly(lambda: algorithm.act(state, obs, KEY, "deterministic"))()
    assert not nothing and np.abs(still).max() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 9])
def test_a_flow_learns_both_modes_of_a_known_q(seed: int) -> None:
    """It starts near N(0, 1), and ends at -1.2 and 1.2, about as often at either.

    With a trust region of a tenth of this it may end at one of the two alone.
    """
    key = jax.random.key(seed)
    algorithm: RLDT = make("rldt", actor_hidden=(32, 32), particles=16, temperature=0.2, trust=2.0)
    size = SPEC.action_size
    optimizer = optax.adam(1e-3)
    obs = jnp.zeros((16, SPEC.obs_size))

    def q(a: jax.Array) -> jax.Array:
        return -jnp.square(jnp.square(a[0]) - 1.44) - jnp.sum(jnp.square(a[1:]))

    slope = jax.vmap(jax.vmap(jax.grad(q)))

    def turn(carry: Any, key: jax.Array) -> tuple[Any, None]:
        before, _ = carry

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            policy, optimizer_state = carry
            draw_key, loss_key = jax.random.split(key)
            particles = algorithm.draw_particles(policy, obs, draw_key)
            gradient, _ = jax.grad(algorithm.policy_loss, has_aux=True)(
                policy, before, obs, particles, slope(particles.end), loss_key
            )
            change, optimizer_state = optimizer.update(gradient, optimizer_state)
            return (optax.apply_updates(policy, change), optimizer_state), None

        return jax.lax.scan(step, carry, jax.random.split(key, 20))[0], None

    policy = algorithm.flow.init(key)
    start = policy, optimizer.init(policy)
    (policy, _), _ = jax.jit(lambda: jax.lax.scan(turn, start, jax.random.split(key, 120)))()
    flow = algorithm.flow
    noise = jax.random.normal(key, (500, size))
    action = np.asarray(
        flow.decode(policy, flow.schedule(), jnp.zeros((500, SPEC.obs_size)), noise)
    )
    right = action[:, 0] > 0
    assert 0.3 < right.mean() < 0.7
    np.testing.assert_allclose(np.abs(action[:, 0]).mean(), 1.2, atol=0.25)
    assert np.abs(action[:, 1:]).mean() < 0.5
