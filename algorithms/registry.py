"""Names of algorithms and what they stand for, independent of task and protocol."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from algorithms.api import Algorithm
from algorithms.baselines.dppo_ren import DPPORen
from algorithms.baselines.fpo_plus_plus import FPOPlusPlus
from algorithms.baselines.reinflow import ReinFlow
from algorithms.dppo import DPPO
from algorithms.fpo import FPO
from algorithms.gorl import GoRL
from algorithms.gorl_sac import GoRLSAC
from algorithms.names import NAMES
from algorithms.ppo import PPO
from algorithms.registering import registration
from algorithms.rldt import RLDT
from algorithms.rldt_warm import RLDTWarm
from algorithms.sac import SAC
from algorithms.staged_ppo import StagedPPO

ENTRY_POINTS = "gorl_suite.algorithms"
"""Packages add algorithms by an entry point of this group that names an `Entry`."""

GORL_STAGE_0: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "clip": 0.15,
    "max_grad_norm": 0.5,
    "tanh_entropy": False,
    "latent_penalty": 5e-4,
}
"""Settings of GoRL's encoder while its decoder is the identity (ALGORITHMS 0, control 2)."""

BRAX: Mapping[str, Any] = {"learning_rate": 1e-3, "clip": 0.3}
"""What Brax's tuned settings for these tasks set otherwise than `PPO` (ALGORITHMS 9)."""


OURS = "gorl-suite"
"""The distribution that the built-in algorithms come with."""

_log = logging.getLogger("suite.algorithms")
_told: set[str] = set()
_of_files: dict[str, Entry] = {}


class MethodFile(NamedTuple):
    """A user's file that a method came out of.

    Attributes:
        path: where it is.
        content: what of it was executed; it may have been edited since.
    """

    path: Path
    content: bytes


@dataclasses.dataclass(frozen=True)
class Entry:
    """A named algorithm: a class and the hyper-parameters that differ from its defaults.

    Attributes:
        name: letters, digits, `_` and `-`.
        cls: its class.
        description: one line.
        defaults: hyper-parameters over the class's own.
        distribution: the installed package that names it; found out, not given.
        file: that it came out of, if it belongs to no package.
    """

    name: str
    cls: type[Algorithm[Any]]
    description: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    distribution: str = OURS
    file: MethodFile | None = None


_ENTRIES = (
    Entry("ppo", PPO, "Gaussian PPO, the unimodal baseline"),
    Entry("fpo", FPO, "flow policy optimization: PPO on the flow-matching loss"),
    Entry("dppo", DPPO, "PPO on every step of a noisy flow, as the GoRL paper ran DPPO"),
    Entry(
        "gorl-fm",
        GoRL,
        "GoRL with a flow-matching decoder",
        {"generative_model": "flow"},
    ),
    Entry(
        "gorl-diff",
        GoRL,
        "GoRL with a diffusion decoder",
        {"generative_model": "diffusion"},
    ),
    Entry(
        "gorl-identity",
        StagedPPO,
        "control: GoRL whose decoder stays the identity; its settings and restarts alone",
    ),
    Entry(
        "ppo-matched",
        PPO,
        "control: PPO with GoRL's stage-0 encoder settings for the whole budget",
        GORL_STAGE_0,
    ),
    Entry(
        "ppo-matched-reset",
        StagedPPO,
        "control: ppo-matched, wiped where GoRL changes stage",
        {
            **GORL_STAGE_0,
            "later_clip": 0.15,
            "later_max_grad_norm": 0.5,
            "later_latent_penalty": 5e-4,
            "encoder_restart": "fresh",
            "keep_critic": False,
            "keep_statistics": False,
        },
    ),
    Entry(
        "ppo-brax",
        PPO,
        "control: PPO with the settings that MuJoCo Playground ships for Brax",
        BRAX,
    ),
    Entry(
        "gorl-gauss",
        GoRL,
        "control: GoRL with a Gaussian decoder, fitted by maximum likelihood",
        {"generative_model": "gaussian"},
    ),
    Entry("sac", SAC, "soft actor-critic, the off-policy baseline"),
    Entry(
        "gorl-sac-fm",
        GoRLSAC,
        "GoRL with SAC for its encoder and a flow-matching decoder",
        {"generative_model": "flow"},
    ),
    Entry(
        "gorl-sac-diff",
        GoRLSAC,
        "GoRL with SAC for its encoder and a diffusion decoder",
        {"generative_model": "diffusion"},
    ),
    Entry("rldt", RLDT, "RLDT from scratch: a flow transported towards exp(Q / tau)"),
    Entry("rldt-warm", RLDTWarm, "RLDT from a flow that was fitted to a PPO policy"),
    Entry(
        "fpo-plus-plus",
        FPOPlusPlus,
        "FPO++: FPO with a ratio for each pair, and a penalty on bad actions' ratios",
    ),
    Entry(
        "reinflow",
        ReinFlow,
        "ReinFlow: a flow with learned noise in its steps, PPO on the chain's density",
    ),
    Entry(
        "dppo-ren",
        DPPORen,
        "DPPO of Ren et al.: PPO on the denoising steps of a diffusion policy",
    ),
)


def entries() -> dict[str, Entry]:
    """All algorithms by name: ours first, then those of installed packages and of files.

    One that cannot be used is left out, and a logged warning says why.
    """
    known = {entry.name: entry for entry in _ENTRIES}
    assert tuple(known) == NAMES
    for where, entry, error in _installed():
        why = error or registration.fault(entry, known)
        if not why:
            known[entry.name] = entry
        elif f"{where} {why}" not in _told:
            _told.add(f"{where} {why}")
            _log.warning("the algorithm of %s is left out: %s", where, why)
    return {**known, **_of_files}


def add(entry: Entry) -> None:
    """Makes a method out of a user's file known for as long as this process lives.

    One of the same name out of such a file is replaced by it.

    Raises:
        ValueError: nothing can be trained with it, or a package's method has its name.
    """
    taken = [name for name in entries() if name not in _of_files]
    if why := registration.fault(entry, taken):
        raise ValueError(why)
    _of_files[entry.name] = entry


def _installed() -> Iterator[tuple[str, Any, str]]:
    """Yields where each entry point is, what it names, and why it cannot be imported, if so."""
    for point in metadata.entry_points(group=ENTRY_POINTS):
        distribution = getattr(getattr(point, "dist", None), "name", "") or point.name
        where = f"{distribution} ({point.value})"
        try:
            entry = point.load()
        except (Exception, SystemExit) as error:  # a module may fail in any way
            reason = " ".join(str(error).split())[:200]
            yield where, None, f"it does not import ({type(error).__name__}: {reason})"
            continue
        if isinstance(entry, Entry):
            entry = dataclasses.replace(entry, distribution=distribution)
        yield where, entry, ""


def lookup(name: str) -> Entry:
    """Returns the entry called `name`.

    Raises:
        KeyError: there is none.
    """
    return entries()[name]
