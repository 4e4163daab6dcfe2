"""`suite ablate`: an ablation's arms as requests, trained one after the other."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from algorithms.registry import entries
from suite.common import interrupt
from suite.common.claim_floor import shortage_of_all, sizes_of
from suite.common.errors import UserError, unknown
from suite.common.formatting import typed
from suite.configuration.hyperparameters import hyperparameter_fields
from suite.configuration.protocol_changes import is_protocol_change
from suite.configuration.recipe import (
    PROTOCOL,
    SOURCE,
    Arm,
    Recipe,
)
from suite.configuration.selection import format_seeds
from suite.methods.select_methods import select_methods
from suite.planning.decoders import Decoders
from suite.planning.plan import Plan
from suite.planning.run_request import RunRequest, make_request
from suite.storage.ablation_directory import Ablation
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory
from suite.training.launch import launch

_FROZEN = "refits"
"""The hyper-parameter by which an algorithm keeps the decoder that it is given."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An ablation that was checked, nothing written yet.

    Attributes:
        ablation: what it is.
        out: its directory.
        source: the run that decoders come from, None without one.
        arms: by name, in order.
    """

    ablation: Ablation
    out: Path
    source: RunRequest | None
    arms: Mapping[str, RunRequest]

    @property
    def description(self) -> str:
        """What is varied, in a line or two for people."""
        arms = ", ".join(self.arms)
        return f"{self.ablation.name}: {self.ablation.description}\narms: {arms}"

    def requests(self) -> Iterator[tuple[str, RunRequest]]:
        """Yields what is trained, in order, with the names of the directories."""
        if self.source is not None:
            yield SOURCE, self.source
        yield from self.arms.items()

    def plans(self) -> Iterator[tuple[str, Plan]]:
        """Yields the plan of every directory, given what it holds already.

        Raises:
            UserError: a directory was made by another protocol or configuration, or an arm does
                not fit its budget.
        """
        for name, request in self.requests():
            stored = request.open_run()
            try:
                planned = request.plan(stored)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            if stored is not None:
                request.check_stored(stored, planned)
            yield name, planned


def prepare_ablation(recipe: Recipe, engine: str, out: Path | None) -> Prepared:
    """Checks a recipe and turns it into requests.

    Args:
        recipe: what to vary.
        engine: as in `make_request`.
        out: directory of the ablation, `runs/ablate-NAME` by default.

    Raises:
        UserError: something is unknown, ill-typed or impossible.
        EnvError: a task or an engine is unknown or does not suit this machine.
    """
    select_methods(recipe.algos)  # first: an axis may be one of a file's method
    _check_owners(recipe)
    out = out or Path("runs") / f"ablate-{recipe.name}"
    base = _request(recipe, engine, out, recipe.settings, recipe.name)
    source = _source(recipe, engine, out) if recipe.needs_source else None
    ablation = _ablation(recipe, base, source)
    arms = {arm.name: _arm(recipe, arm, ablation, engine, out, source) for arm in ablation.arms}
    return Prepared(ablation, out, source, arms)


def shortage(ablation: Ablation, plans: Mapping[str, Plan]) -> str | None:
    """Returns why no claim about an arm can come out, None if one can.

    Args:
        ablation: what is compared: every arm with the reference arm, method by method, or the
            methods of a single arm with each other.
        plans: of the arms, by name.
    """
    names = [arm.name for arm in ablation.arms]
    if not ablation.axes:
        return plans[names[0]].shortage()
    reference = ablation.reference or names[0]
    runs = {(f"{m} {n}", t): k for n in names for (m, t), k in plans[n].runs.items()}
    pairs = [
        sizes_of(runs, f"{method} {name}", f"{method} {reference}")
        for method in sorted({method for name in names for method, _ in plans[name].runs})
        for name in names
        if name != reference
    ]
    found = shortage_of_all(pairs)
    return found.sentence(f" any arm from arm {reference}") if found else None


@dataclasses.dataclass(frozen=True)
class AblationOutcome:
    """How an ablation ended.

    Attributes:
        diverged: cells whose numbers stopped being finite, each after its directory's name.
        interrupted: whether the user stopped it.
    """

    diverged: tuple[str, ...]
    interrupted: bool


def run_ablation(prepared: Prepared) -> AblationOutcome:
    """Trains what is not finished yet, source first.

    What other processes are training is left to them until nothing else is to be had, and only
    then waited for; but the source's decoders are needed before anything else.

    Raises:
        UserError: the directory holds another ablation, or see `launch`.
        OSError: a file cannot be written; what was stored before is untouched.
    """
    for _ in prepared.plans():
        pass  # every arm is checked before the first one is trained
    prepared.ablation.write(prepared.out)
    diverged: list[str] = []
    turns = deque((name, request, name == SOURCE) for name, request in prepared.requests())
    while turns:
        if interrupt.requested():
            return AblationOutcome(tuple(diverged), interrupted=True)
        name, request, wait = turns.popleft()
        for part in _trainable(name, request):
            print(f"suite: {prepared.ablation.name}, {name}", file=sys.stderr)
            outcome = launch(part, wait)
            if outcome.held:
                turns.append((name, part, True))
                continue
            diverged += [f"{name}/{cell}" for cell in outcome.diverged]
            if outcome.interrupted:
                return AblationOutcome(tuple(diverged), interrupted=True)
    return AblationOutcome(tuple(diverged), interrupted=False)


def _check_owners(recipe: Recipe) -> None:
    known = entries()
    for axis in recipe.axes:
        for owner in axis.owners:
            if owner not in known and owner != "*" and not axis.is_decoder and owner != PROTOCOL:
                raise unknown(f"algorithm of axis {axis.key}", owner, [PROTOCOL, "decoder", *known])


def _request(
    recipe: Recipe, engine: str, out: Path, changes: Sequence[str], protocol_name: str
) -> RunRequest:
    request = make_request(
        recipe.algos, recipe.tasks, recipe.seeds, recipe.protocol, engine, out, tuple(changes)
    )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", protocol_name)
    return dataclasses.replace(request, protocol=dataclasses.replace(request.protocol, name=name))


def _source(recipe: Recipe, engine: str, out: Path) -> RunRequest:
    changes = (*recipe.settings, *recipe.source_settings)
    source = _request(recipe, engine, out / SOURCE, changes, f"{recipe.name}-{SOURCE}")
    known = entries()
    for name in source.algorithms:
        if _FROZEN not in hyperparameter_fields(known[name].cls):
            having = [n for n, e in known.items() if _FROZEN in hyperparameter_fields(e.cls)]
            raise UserError(
                f"{name} has no decoder that an axis decoder.stage could vary; choose among "
                f"{', '.join(having)} with --algos"
            )
    return source


def _arm(
    recipe: Recipe, arm: Arm, ablation: Ablation, engine: str, out: Path, source: RunRequest | None
) -> RunRequest:
    algorithms = ablation.algorithms
    changes, decoders = list(recipe.settings), None
    for axis, value in zip(recipe.axes, arm.values, strict=True):
        changes += axis.changes(value, algorithms)
        if source is not None and axis.is_decoder and isinstance(value, int):
            _check_stage(source, value)
            decoders = Decoders(RunDirectory(source.out, source.protocol), value)
            changes += [f"{name}.{_FROZEN}={typed(False)}" for name in algorithms]
    try:
        request = _request(recipe, engine, out / arm.name, changes, f"{recipe.name}-{arm.name}")
    except UserError as error:
        raise UserError(f"arm {arm.name}: {error}") from None
    return dataclasses.replace(request, decoders=decoders)


def _check_stage(source: RunRequest, stage: int) -> None:
    for name, algorithm in source.algorithms.items():
        count = len(algorithm.stages())
        if stage >= count:
            raise UserError(
                f"axis decoder.stage: {stage} is too large, {name} has stages 0 to {count - 1}"
            )


def _ablation(recipe: Recipe, base: RunRequest, source: RunRequest | None) -> Ablation:
    settings = [text for text in recipe.settings if not is_protocol_change(text)]
    return Ablation(
        name=recipe.name,
        description=recipe.description,
        protocol=base.protocol,
        source=source.protocol if source else None,
        algorithms=tuple(base.algorithms),
        tasks=base.tasks,
        seeds=base.seeds,
        engine=base.engine,
        settings=tuple(settings),
        metrics=recipe.metrics,
        axes=recipe.axes,
        reference=recipe.reference,
    )


def _trainable(name: str, request: RunRequest) -> Iterator[RunRequest]:
    """Yields the request in parts for which there are decoders, whole if there are all."""
    decoders = request.decoders
    if decoders is None:
        yield request
        return
    groups = {}
    for task in request.tasks:
        for algorithm in request.algorithms:
            groups[algorithm, task] = _seeds_with_decoder(request, decoders, algorithm, task)
    if all(seeds == request.seeds for seeds in groups.values()):
        yield request
        return
    for (algorithm, task), seeds in groups.items():
        left_out = [seed for seed in request.seeds if seed not in seeds]
        if left_out:
            print(
                f"suite: {name}: {task}/{algorithm} has no decoder for seeds "
                f"{format_seeds(left_out)}, whose source run did not get so far",
                file=sys.stderr,
            )
        if seeds:
            only = {algorithm: request.algorithms[algorithm]}
            yield dataclasses.replace(request, tasks=(task,), seeds=seeds, algorithms=only)


def _seeds_with_decoder(
    request: RunRequest, decoders: Decoders, algorithm: str, task: str
) -> tuple[int, ...]:
    return tuple(seed for seed in request.seeds if decoders.has(Cell(algorithm, task, seed)))
