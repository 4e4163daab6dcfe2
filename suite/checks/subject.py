"""The method under question, at sizes at which everything takes seconds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.api import Algorithm, EnvSpec, Pipeline
from algorithms.registry import Entry
from suite.checks.course import ACTION_SIZE, DISCOUNT, OBS_SIZE, Course
from suite.common.errors import UserError
from suite.configuration.hyperparameters import (
    EVERY_ALGORITHM,
    Setting,
    check_settings,
    hyperparameters,
    parse_setting,
    protocol_settings,
)
from suite.configuration.protocol import Protocol, load_protocol
from suite.contract.wiring import Wiring
from suite.methods.build_method import build

PIPELINE = Pipeline(
    updates=60,
    num_envs=16,
    rollout_length=60,
    chunk_length=30,
    num_minibatches=8,
    num_epochs=8,
)
"""Of a run of 57,600 steps. Rollouts are as long as those of the protocol `lite`, which the
lengths that a method may ask for divide."""

SMALL: Mapping[str, object] = {
    "actor_hidden": (32, 32),
    "critic_hidden": (32, 32),
    "decoder_hidden": (32, 32),
    "decoder_epochs": 100,  # with fewer, a refit widens actions that no longer vary
    "decoder_batch_size": 256,
    "decoder_draws": 2,
    "decoder_rollouts": 4,
    "batch_size": 128,
    "actor_states": 64,
    "learning_starts": 256,  # thousands are a stage of these runs, and none of a run of `lite`
    "initial_temperature": 0.01,  # from 1, Adam needs longer than a stage to let it fall
}
"""What a method is set to where it has a hyper-parameter of that name and type. Learning from
replay takes 3,600 gradient steps here, of which a staged method has a third before it begins
anew; the bonus for entropy has to be small within them, or the best policy is a wide one."""

_PROTOCOL = "lite"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A method, with what its checks share.

    Attributes:
        name: for messages.
        cls: its class.
        values: every hyper-parameter, as it is checked.
        own: likewise, as it runs under the protocol `lite`.
    """

    name: str
    cls: type[Algorithm[Any]]
    values: Mapping[str, object]
    own: Mapping[str, object]

    def build(self, spec: EnvSpec, pipeline: Pipeline, own: bool = False) -> Algorithm[Any]:
        """Returns an instance.

        Args:
            spec: the environment's sizes.
            pipeline: what the protocol fixes.
            own: whether networks have the size of a run's.

        Raises:
            UserError: the class refuses it.
        """
        return build(self.name, self.cls, spec, pipeline, self.own if own else self.values)

    @functools.cached_property
    def algorithm(self) -> Algorithm[Any]:
        """It in the environments of `course`."""
        return self.build(EnvSpec(OBS_SIZE, ACTION_SIZE, DISCOUNT), PIPELINE)

    @functools.cached_property
    def wiring(self) -> Wiring:
        """What the start of every run asks of it."""
        return Wiring(self.name, self.algorithm)

    @functools.cached_property
    def course(self) -> Course:
        """It in training, on the probe environments."""
        return Course(self.algorithm)


def make_subject(entry: Entry, changes: Sequence[str] = ()) -> Subject:
    """Returns a method to be checked.

    Args:
        entry: what its name stands for.
        changes: as of `--set`.

    Raises:
        UserError: a change is not of its hyper-parameters, or the class refuses a value.
    """
    asked = [parse_setting(change) for change in changes]
    check_settings(asked, {entry.name: entry.cls})
    lite = load_protocol(_PROTOCOL)
    small = [each for each in _small() if _suits(each, entry.cls)]
    layers = [protocol_settings(lite.algorithms), small, asked]
    values = hyperparameters(entry.name, entry.cls, entry.defaults, *layers)
    return Subject(entry.name, entry.cls, values, of_protocol(entry, lite, asked))


def _small() -> list[Setting]:
    return [Setting(EVERY_ALGORITHM, field, value, field) for field, value in SMALL.items()]


def _suits(setting: Setting, cls: type) -> bool:
    """Returns whether a method has a hyper-parameter that takes a value."""
    try:
        check_settings([setting], {"": cls})
    except UserError:
        return False
    return True


def of_protocol(
    entry: Entry, protocol: Protocol, asked: Sequence[Setting] = ()
) -> dict[str, object]:
    """Returns every hyper-parameter that a method has under a protocol."""
    settings = protocol_settings(protocol.algorithms)
    return hyperparameters(entry.name, entry.cls, entry.defaults, settings, asked)
