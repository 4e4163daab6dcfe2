"""GoRL's decoder: its supervised fit and its use (ALGORITHMS 2.4 to 2.6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import optax

from algorithms.encoder_decoder.experience import VALIDATION_SHARE, Experience, Split, split
from algorithms.parts.networks import Params, constant_output, output_bias


class DecoderModel(Protocol):
    """What can be fitted as a decoder: a map from (observation, latent) to pre-tanh action.

    Its latents are N(0, I) while it is fitted, unless those that the actions came from are
    given. `Flow`, `Diffusion` and `GaussianDecoder` are such models.
    Observations are normalized by the caller.
    """

    @property
    def obs_size(self) -> int:
        """O."""
        ...

    @property
    def action_size(self) -> int:
        """A, of actions and of latents."""
        ...

    @property
    def evaluations(self) -> int:
        """Network evaluations per action."""
        ...

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        ...

    def schedule(self) -> jax.Array:
        """Returns the constants [K] that decoding needs, such as times; K may be 0."""
        ...

    def identity(self, key: jax.Array) -> tuple[Params, jax.Array]:
        """Returns parameters and schedule whose `decode` returns its latent, or nearly so."""
        ...

    def decode(
        self, params: Params, schedule: jax.Array, obs: jax.Array, latent: jax.Array, /
    ) -> jax.Array:
        """Returns pre-tanh actions [N, A] for obs [N, O] and latents [N, A], without noise."""
        ...

    def loss(
        self,
        params: Params,
        obs: jax.Array,
        action: jax.Array,
        draws: int,
        key: jax.Array,
        latent: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the loss [] of a fit to actions [B, A], with `draws` noises for each.

        Given latents [B, A] are what the actions came from, to be used in place of N(0, I).
        """
        ...


class Decoder(NamedTuple):
    """A frozen map from latent to pre-tanh action.

    Attributes:
        params: the model's network.
        schedule: [K] the model's times or noise levels.
        mean, std: [O] statistics of the observations it was fitted on.
        validation_loss: [] of the chosen parameters; 0 for the identity.
    """

    params: Params
    schedule: jax.Array
    mean: jax.Array
    std: jax.Array
    validation_loss: jax.Array

    def decode(self, model: DecoderModel, obs: jax.Array, latent: jax.Array) -> jax.Array:
        """Pre-tanh actions [N, A] for obs [N, O] and latents [N, A]."""
        normalized = (obs - self.mean) / (self.std + 1e-8)
        return model.decode(self.params, self.schedule, normalized, latent)


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a decoder is fitted; see `DecoderSettings` for the fields' sources.

    Attributes:
        paired: whether latents are kept and actions fitted to their own, not to N(0, I).
        zeroed: whether a new network's last layer is the identity's, which makes a constant.
    """

    model: DecoderModel
    learning_rate: float
    batch_size: int
    epochs: int
    draws: int
    samples: int
    patience: int
    validation_batches: int
    paired: bool = False
    zeroed: bool = False

    def identity(self, key: jax.Array) -> Decoder:
        """The decoder that returns its latent."""
        params, schedule = self.model.identity(key)
        size = self.model.obs_size
        return Decoder(params, schedule, jnp.zeros(size), jnp.ones(size), jnp.zeros(()))

    def empty(self, slots: int, transitions: int) -> Experience:
        """A ring of `slots` rollouts of `transitions` each, with nothing in it.

        Raises:
            ValueError: one transition cannot be split into training and validation.
        """
        if transitions < 2:
            raise ValueError("a decoder is fitted on rollouts of at least 2 transitions, not 1")
        actions = jnp.zeros((slots, transitions, self.model.action_size))
        return Experience(
            jnp.zeros((slots, transitions, self.model.obs_size)),
            actions,
            jnp.int32(0),
            actions if self.paired else None,
        )

    def __call__(
        self, data: Experience, key: jax.Array, start: Callable[[Params], Params] = lambda new: new
    ) -> Decoder:
        """Fits a decoder to `data` and returns it at its lowest validation loss.

        Args:
            data: what it is fitted on.
            key: randomness.
            start: what the fit starts from, given a new network.
        """
        split_key, init_key, epochs_key = jax.random.split(key, 3)
        train, validation = split(data, split_key)
        mean, std = train.statistics()
        params = start(self._new(init_key))
        blank = Decoder(params, self.model.schedule(), mean, std, jnp.zeros(()))
        beginning = _Progress(
            blank.params,
            self._optimizer.init(blank.params),
            blank.params,
            jnp.float32(jnp.inf),
            jnp.int32(0),
        )

        def epoch(progress: _Progress, key: jax.Array) -> tuple[_Progress, None]:
            train_key, validation_key = jax.random.split(key)
            trained = self._train(progress, train, blank, train_key)
            loss = self._validate(trained.params, validation, blank, validation_key)
            return self._keep_best(progress, trained, loss), None

        end, _ = jax.lax.scan(epoch, beginning, jax.random.split(epochs_key, self.epochs))
        return blank._replace(params=end.best, validation_loss=end.best_loss)

    def steps_per_epoch(self, available: int) -> int:
        """Returns the Adam steps of an epoch over so many training transitions."""
        wanted = int(self.samples * (1.0 - VALIDATION_SHARE))
        return max(1, min(available, wanted) // self.batch_size)

    def _new(self, key: jax.Array) -> Params:
        """Returns the parameters of a new network.

        Raises:
            ValueError: it is to have a last layer of zeros, and is no `MLP`.
        """
        params = self.model.init(key)
        if not self.zeroed:
            return params
        if "params" not in params:
            raise ValueError("decoder_last_layer = zero: the decoder's network is no MLP")
        identity, _ = self.model.identity(key)
        return constant_output(params, output_bias(identity))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def _loss(
        self,
        params: Params,
        blank: Decoder,
        batch: tuple[jax.Array, jax.Array, jax.Array | None],
        key: jax.Array,
    ) -> jax.Array:
        obs, action, latent = batch
        normalized = (obs - blank.mean) / (blank.std + 1e-8)
        return self.model.loss(params, normalized, action, self.draws, key, latent)

    def _train(
        self, progress: _Progress, train: Split, blank: Decoder, key: jax.Array
    ) -> _Progress:
        """One epoch of Adam steps."""
        available = train.source.obs.shape[0] * train.positions.shape[0]
        steps = self.steps_per_epoch(available)

        def step(
            carry: tuple[Params, optax.OptState], key: jax.Array
        ) -> tuple[tuple[Params, optax.OptState], None]:
            params, optimizer = carry
            draw_key, loss_key = jax.random.split(key)
            batch = train.draw(draw_key, self.batch_size)
            gradient = jax.grad(self._loss)(params, blank, batch, loss_key)
            change, optimizer = self._optimizer.update(gradient, optimizer)
            return (optax.apply_updates(params, change), optimizer), None

        keys = jax.random.split(key, steps)
        (params, optimizer), _ = jax.lax.scan(step, (progress.params, progress.optimizer), keys)
        return progress._replace(params=params, optimizer=optimizer)

    def _validate(
        self, params: Params, validation: Split, blank: Decoder, key: jax.Array
    ) -> jax.Array:
        available = validation.source.obs.shape[0] * validation.positions.shape[0]
        batches = max(1, min(self.validation_batches, available // self.batch_size))

        def loss(key: jax.Array) -> jax.Array:
            draw_key, loss_key = jax.random.split(key)
            return self._loss(params, blank, validation.draw(draw_key, self.batch_size), loss_key)

        return jnp.mean(jax.lax.map(loss, jax.random.split(key, batches)))

    def _keep_best(self, before: _Progress, trained: _Progress, loss: jax.Array) -> _Progress:
        """Remembers the best parameters; out of patience, nothing changes any more."""
        better = loss < before.best_loss
        after = trained._replace(
            best=jax.tree.map(lambda a, b: jnp.where(better, a, b), trained.params, before.best),
            best_loss=jnp.minimum(loss, before.best_loss),
            stale_epochs=jnp.where(better, 0, before.stale_epochs + 1),
        )
        stopped = before.stale_epochs >= self.patience
        return cast(_Progress, jax.tree.map(lambda a, b: jnp.where(stopped, a, b), before, after))


class _Progress(NamedTuple):
    params: Params
    optimizer: optax.OptState
    best: Params
    best_loss: jax.Array
    stale_epochs: jax.Array
