"""What GoRL asks of its encoder, the optimizer of a policy over latents (ALGORITHMS 2.4)."""

from __future__ import annotations

from typing import Protocol, TypeVar

import jax

from algorithms.api import Extras, Metrics, Mode, PyTree, Rollout, Stage

EncoderState = TypeVar("EncoderState")


class Encoder(Protocol[EncoderState]):
    """A method whose actions are latents z [N, A] that a decoder makes the real actions of.

    It learns in the environment that a frozen decoder makes of the task: the rollouts hold
    observations, what `draw` noted of its latents, rewards and ends, and nothing of the
    decoder, which changes at `advance` alone. What else it remembers, such as a buffer of
    replayed transitions, is part of its state.

    The methods that an `Algorithm` has too keep their meaning there: an algorithm with `draw`
    and `stage` is an encoder, `StagedPPO` for one.
    """

    @property
    def evaluations_per_action(self) -> int:
        """Network forward passes needed for one latent."""
        ...

    @property
    def rollout_length(self) -> int:
        """Steps that each environment takes before `update` is called."""
        ...

    @property
    def gradient_steps(self) -> int | None:
        """Minibatches that one call of `update` learns from; None where it is not told."""
        ...

    def init(self, key: jax.Array) -> EncoderState:
        """Returns a fresh state in the first stage; z ~ N(0, I) is what decoders expect."""
        ...

    def draw(
        self, state: EncoderState, obs: jax.Array, key: jax.Array, mode: Mode
    ) -> tuple[jax.Array, Extras]:
        """Chooses latents [N, A] for obs [N, O], not squashed, and notes what `update` needs.

        The extras `pre_tanh` and `decoded_latent` are the decoder's; notes of these names are
        refused.
        """
        ...

    def update(
        self, state: EncoderState, rollout: Rollout, key: jax.Array
    ) -> tuple[EncoderState, Metrics]:
        """Learns from one rollout; metrics are scalars."""
        ...

    def stages(self) -> tuple[Stage, ...]:
        """Returns the parts of the budget; after each but the last comes a new decoder.

        The first one may be a warm-up (`Stage.warm_up`), after which comes no decoder: `advance`
        alone is called, and `WarmedUp` says what else is needed.
        """
        ...

    def stage(self, state: EncoderState) -> jax.Array:
        """Returns the index [] of the stage that a state is in, int32."""
        ...

    def advance(self, state: EncoderState, key: jax.Array) -> EncoderState:
        """Restarts for the next stage: latents mean something else to the next decoder."""
        ...

    def policy(self, state: EncoderState) -> EncoderState:
        """Returns the part of a state that `draw` needs: a state with the rest `emptied`."""
        ...

    def parameters(self, state: EncoderState) -> PyTree:
        """Returns the trained networks' parameters within a state."""
        ...

    def candidate(self, state: EncoderState) -> PyTree:
        """Returns the part of a state that is kept for `Stage.select_by`."""
        ...

    def reinstate(self, state: EncoderState, candidate: PyTree) -> EncoderState:
        """Puts a candidate of the same stage back into the state at the stage's end."""
        ...


class WarmedUp(Encoder[EncoderState], Protocol[EncoderState]):
    """An encoder that asks for a warm-up, inside the budget, to fill a buffer say."""

    def draw_first(
        self, state: EncoderState, obs: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Extras]:
        """Chooses latents [N, A] in the warm-up, from N(0, I) say, and notes what `record` needs.

        They are not squashed; the decoder is the identity then, or one of another run.
        """
        ...

    def record(self, state: EncoderState, rollout: Rollout) -> EncoderState:
        """Takes in a rollout of the warm-up, or one taken for a decoder, and does not learn."""
        ...


def warms_up(encoder: Encoder[EncoderState]) -> bool:
    """Returns whether an encoder asks for a warm-up, and so has what `WarmedUp` has."""
    return encoder.stages()[0].warm_up


def checked(extras: Extras, encoder: object) -> Extras:
    """Returns what an encoder noted.

    Raises:
        ValueError: it notes something as `pre_tanh` or `decoded_latent`.
    """
    if taken := {"pre_tanh", "decoded_latent"} & set(extras):
        raise ValueError(f"{type(encoder).__name__}.draw: {taken.pop()} is the decoder's own")
    return extras
