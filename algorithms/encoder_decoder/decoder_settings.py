"""The hyper-parameters of a decoder between an encoder's latents and actions (ALGORITHMS 2.4)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from algorithms.api import Settings
from algorithms.bounds import Count, Positive, Range, Widths


@dataclasses.dataclass(frozen=True)
class DecoderSettings(Settings):
    """What a decoder is, what it learns from, and how.

    Attributes:
        generative_model: `flow` is GoRL(FM), `diffusion` is GoRL(Diff), `gaussian` is the
            control whose decoder is a state's Gaussian (ALGORITHMS 8.2).
        decoder_hidden: widths of the decoder's hidden layers (ALGORITHMS 2.5, 2.6).
        decoder_steps: Euler steps, or noise levels (likewise); a Gaussian has none.
        decoder_data: `recent` fits to the newest rollouts inside the budget, as the paper
            says; `extra` to rollouts taken for the purpose and counted, as its code does.
        decoder_rollouts: of how many updates the fit sees the rollouts; the first release
            takes 20 extra (ALGORITHMS 2.4, as is all that follows).
        decoder_time_limits: whether extra rollouts cut episodes at the time limit; the first
            release's do not, so that nine tenths of its data lie beyond it.
        decoder_samples: an epoch passes over at most so many transitions.
        decoder_epochs: epochs of a fit. Tuned from a fifth of the published 50 to twice it.
        decoder_batch_size: transitions per step of a fit.
        decoder_draws: (noise, time) draws per transition and step.
        decoder_learning_rate: Adam's. Tuned within a factor of about three of the published 3e-4.
        decoder_start: a fit starts from a `fresh` network, as the first release's, or `warm`
            from the previous decoder's parameters; the first one is fresh either way, as
            the identity's parameters are all zero and no gradient gets past them.
        decoder_last_layer: of a fresh network, `random` as the other layers or `zero`, with
            which a fit starts from no velocity, no noise or N(0, I) (ALGORITHMS 8.1).
        refits: whether there are later stages with refitted decoders at all; if not, the
            whole budget is one stage with the decoder that the run starts with.
        decoder_noise: the latents that a fit leads to the actions: of the fixed `prior`
            N(0, I), independent of what was seen, or of the `encoder`, each action's own
            (ALGORITHMS 8.3).
        decoder_patience: epochs without a better validation loss before a fit stops.
        decoder_validation_batches: batches that the validation loss is measured on.
    """

    generative_model: Literal["flow", "diffusion", "gaussian"] = "flow"
    decoder_hidden: Widths = (64, 64, 64, 64)
    decoder_steps: Count = 10
    decoder_data: Literal["recent", "extra"] = "recent"
    decoder_rollouts: Count = 10
    decoder_time_limits: bool = True
    decoder_samples: Count = 10_000_000
    decoder_epochs: Annotated[Count, Range(10, 100, log=True)] = 50
    decoder_batch_size: Count = 8192
    decoder_draws: Count = 8
    decoder_learning_rate: Annotated[Positive, Range(1e-4, 1e-3, log=True)] = 3e-4
    decoder_start: Literal["fresh", "warm"] = "fresh"
    decoder_last_layer: Literal["random", "zero"] = "random"
    refits: bool = True
    decoder_noise: Literal["prior", "encoder"] = "prior"
    decoder_patience: Count = 20
    decoder_validation_batches: Count = 50
