"""The one way from a method's name and hyper-parameters to an instance of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algorithms import bounds, registry
from algorithms.api import Algorithm, EnvSpec, Pipeline
from suite.common.errors import UserError
from suite.configuration.protocol import Protocol
from suite.contract.tracing import told


def build_method(
    name: str, values: Mapping[str, Any], protocol: Protocol, env: EnvSpec | None = None
) -> Algorithm[Any]:
    """Returns the named method, fitted to a protocol's pipeline.

    Args:
        name: of the registry.
        values: every hyper-parameter.
        protocol: whose pipeline.
        env: what it is fitted to. By default some environment, which is enough to ask for stages
            and for the contract: neither depends on the sizes.

    Raises:
        UserError: a value is out of its bounds, or the class or its division into stages
            refuses it.
    """
    env = env or EnvSpec(obs_size=1, action_size=1, discount=protocol.discount)
    return build(name, registry.lookup(name).cls, env, protocol.pipeline(), values)


def build(
    name: str,
    cls: type[Algorithm[Any]],
    env: EnvSpec,
    pipeline: Pipeline,
    values: Mapping[str, Any],
) -> Algorithm[Any]:
    """Returns an instance of an `Algorithm` class, sound as far as making it shows.

    Args:
        name: for messages, as several methods may be of one class.
        cls: the class.
        env: what it is fitted to.
        pipeline: likewise.
        values: every hyper-parameter.

    Raises:
        UserError: see `build_method`.
    """
    try:
        instance = cls(env=env, pipeline=pipeline, **values)
        bounds.check(instance)  # again: a class's own __post_init__ may have replaced the base's
        instance.stages()
        instance.evaluations_per_action  # noqa: B018 - how actions are made may be refused too
    except ValueError as error:
        raise UserError(f"algorithm {name}: {error}") from None
    except Exception as error:  # it may be the user's own class, which may fail in any way
        reason = told(error, cls)
        raise UserError(f"algorithm {name} cannot be made, or lacks stages: {reason}") from error
    return instance
