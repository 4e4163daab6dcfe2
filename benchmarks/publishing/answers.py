"""Whether generative policies beat Gaussian ones: asked of stored runs, and answered in words.

Nothing is computed here that `suite compare` does not compute: each generative method is judged
against each Gaussian one (reports/judgement), over all tasks and on each by itself. A sentence
claims what the corrected test shows, and says of the rest what it would take.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from scipy import stats

from reports.analysis import bootstrap, claims
from reports.analysis.budgets import equal_budgets
from reports.analysis.comparison import Analysis
from reports.judgement.deciding import POWER
from reports.judgement.verdicts import Judged, Judgement, Outcome
from reports.judgement.wording import p_words, seeds_words
from reports.runs.names import Label, display_name, named
from reports.runs.results import Results
from reports.writing.report_options import MARGIN
from suite.common.claim_floor import LEVEL, seeds_to_tell

GAUSSIAN = ("ppo", "ppo-brax")
GENERATIVE = ("fpo", "dppo", "gorl-fm", "gorl-diff")
"""Methods that the question is about; controls take one of these apart and are no answer."""

_IN_WORDS: Mapping[Outcome, str] = {
    "better": "higher",
    "worse": "lower",
    "equivalent": f"less than {MARGIN:g} apart",
}


@dataclasses.dataclass(frozen=True)
class OnTask:
    """A generative method against a Gaussian one on one task.

    Attributes:
        task: its name.
        judged: what the runs on it say; its corrected p-values know of no other task.
        p_holm: that they differ, corrected for all methods and tasks together.
        q: the least false discovery rate at which the difference is named (Benjamini and Hochberg
            1995), over the same family.
        reachable: whether so many runs could show it, whatever their scores.
    """

    task: str
    judged: Judged
    p_holm: float
    q: float
    reachable: bool

    @property
    def is_higher(self) -> bool:
        """Whether the generative one is shown to score higher."""
        return self.p_holm < LEVEL and self.judged.difference.value > 0

    @property
    def is_lower(self) -> bool:
        """Whether the Gaussian one is."""
        return self.p_holm < LEVEL and self.judged.difference.value < 0

    @property
    def is_named(self) -> bool:
        """Whether it is among the differences of which few are expected to be none."""
        return self.q < LEVEL


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What was asked, and what the runs say.

    Attributes:
        judgement: over all tasks of the aggregates.
        on_tasks: on each task by itself, by task.
    """

    judgement: Judgement
    on_tasks: tuple[OnTask, ...]


def ask(analysis: Analysis) -> Question:
    """Judges the generative methods of an analysis, with its random numbers and rules."""
    methods = GAUSSIAN + GENERATIVE
    together = restricted(analysis, methods, analysis.results.tasks)
    found = [
        (task, pair)
        for task in together.results.tasks
        for pair in _judgement(restricted(together, methods, (task,))).pairs
    ]
    ps = [pair.p_different for _, pair in found]
    within = claims.reachable([pair.sizes for _, pair in found], analysis.repetitions)
    corrected = zip(found, bootstrap.holm(ps), _discovery_rates(ps), within, strict=True)
    on_tasks = [OnTask(*which, p, q, reachable) for which, p, q, reachable in corrected]
    return Question(_judgement(together), tuple(on_tasks))


def _discovery_rates(ps: Sequence[float]) -> list[float]:
    return [float(q) for q in stats.false_discovery_control(ps, method="bh")] if ps else []


def restricted(analysis: Analysis, methods: Sequence[str], tasks: Sequence[str]) -> Analysis:
    """Returns the analysis of some methods on some tasks, with its random numbers and rules."""
    results = analysis.results
    runs = [run for run in results.runs if run.algorithm in methods and run.task in tasks]
    return dataclasses.replace(analysis, results=dataclasses.replace(results, runs=tuple(runs)))


def _judgement(analysis: Analysis) -> Judgement:
    generative = tuple(each for each in analysis.results.algorithms if each in GENERATIVE)
    return Judgement(analysis, generative, MARGIN)


_BRACKETS = (
    "In brackets: the mean score of the first less that of the second with its 95% interval; a "
    "score is 0 at the least and 1 at the greatest return that there can be."
)


def answer(question: Question) -> list[str]:
    """Returns the answer in paragraphs of Markdown, its verdict first, then what it rests on."""
    judgement = question.judgement
    if not judgement.pairs:
        lacking = "no generative and no Gaussian method have runs on the same tasks yet"
        return [f"**It cannot be told yet**: {lacking}."]
    groups = _groups(judgement.pairs)
    evidence = [f"- {_evidence(judgement, *group)}" for group in groups.items()]
    terms = [_steps(judgement.analysis.results), tuning_words(judgement.analysis.results)]
    return [
        f"**{_verdict(judgement)}** {_terms_of_test(judgement)}",
        *evidence,
        _BRACKETS,
        " ".join(_where(question.on_tasks)),
        _named_where(question.on_tasks),
        " ".join(terms),
    ]


def _groups(pairs: Sequence[Judged]) -> dict[Outcome, list[Judged]]:
    order: tuple[Outcome, ...] = ("better", "worse", "equivalent", "undecided", "undecidable")
    found = {outcome: [pair for pair in pairs if pair.outcome == outcome] for outcome in order}
    return {outcome: group for outcome, group in found.items() if group}


def _verdict(judgement: Judgement) -> str:
    """Returns the answer to the question in one sentence, as far as it is shown."""
    pairs = judgement.pairs
    rivals = list(dict.fromkeys(pair.stored for pair in pairs))
    beaten = {
        new: [pair.stored for pair in pairs if pair.new == new and pair.outcome == "better"]
        for new in dict.fromkeys(pair.new for pair in pairs)
    }
    winners = [new for new, over in beaten.items() if len(over) == len(rivals)]
    partly = [new for new, over in beaten.items() if 0 < len(over) < len(rivals)]
    if winners:
        return f"Yes: {named(winners)} score{_s(winners)} higher than {named(rivals)}."
    if partly:
        over = list(dict.fromkeys(stored for new in partly for stored in beaten[new]))
        return (
            f"In part: {named(partly)} score{_s(partly)} higher than {named(over)}, but none "
            "higher than every Gaussian policy here."
        )
    if all(pair.outcome == "undecidable" for pair in pairs):
        return "It cannot be told from so few runs, whatever they scored."
    if any(pair.is_open for pair in pairs):
        return f"Not shown: no generative policy is shown to score higher than {named(rivals)}."
    mean = "on average " * (len(judgement.analysis.tasks) > 1)
    return f"No: {mean}no generative policy scores higher than {named(rivals)}."


def _s(names: Sequence[Label]) -> str:
    return "s" * (len(names) == 1)


def _terms_of_test(judgement: Judgement) -> str:
    analysis, count = judgement.analysis, len(judgement.pairs)
    runs = sorted({n for pair in judgement.pairs for sizes in pair.sizes for n in sizes})
    seeds = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    tasks = ", ".join(analysis.tasks)
    return (
        f"That is by the mean score over {tasks}, {seeds} seed{'s' * (runs[-1] != 1)} of each "
        f"method on each task, and permutation tests at {LEVEL:g}, Holm-corrected for {count} "
        f"comparison{'s' * (count != 1)}. {analysis.policy.describe()}"
    )


def _evidence(judgement: Judgement, outcome: Outcome, pairs: Sequence[Judged]) -> str:
    """Returns a sentence on the comparisons that came out alike."""
    if outcome == "undecidable":
        lacking = judgement.shortage
        needs = f", which would need {lacking.remedy}" if lacking else ""
        told = "; ".join(map(with_grounds, pairs))
        return f"Out of reach of any test{needs}: {told}."
    if outcome == "undecided":
        told = "; ".join(
            with_grounds(pair, f"seeds: {seeds_words(judgement.seeds(pair))}") for pair in pairs
        )
        return (
            f"Not told by so many seeds: {told}. (Seeds: of each method on each task, to show a "
            f"difference, or that it is below {MARGIN:g}, with probability {POWER:g} if the true "
            "one is the observed one.)"
        )
    ps = [p.p_equivalent_holm if outcome == "equivalent" else p.p_different_holm for p in pairs]
    told = "; ".join(with_grounds(pair, p_words(p)) for pair, p in zip(pairs, ps, strict=True))
    return f"Shown to be {_IN_WORDS[outcome]}: {told}."


def with_grounds(pair: Judged, *more: str) -> str:
    """Returns `GoRL(FM) against PPO (0.200 [0.186, 0.213], p < 0.001)`."""
    return f"{pair_words(pair)} ({', '.join([str(pair.difference), *more])})"


def pair_words(pair: Judged) -> str:
    """Returns `GoRL(FM) against PPO`."""
    return f"{display_name(pair.new)} against {display_name(pair.stored)}"


def _where(on_tasks: Sequence[OnTask]) -> Iterator[str]:
    """Yields sentences on single tasks."""
    count = len(on_tasks)
    compared = f"{count} comparisons of a method on a task" if count > 1 else "1 comparison"
    if not any(each.reachable for each in on_tasks):
        most = max(n for each in on_tasks for pair in each.judged.sizes for n in pair)
        yield (
            f"On a single task {most} seeds can show no difference after correction for "
            f"{compared}, whatever the scores; {seeds_to_tell(1, count)} seeds of each method "
            "could show the largest there can be."
        )
        return
    higher = [each for each in on_tasks if each.is_higher]
    lower = [each for each in on_tasks if each.is_lower]
    yield f"On single tasks, Holm-corrected for {compared}:"
    yield f"higher {_listed(higher)};" if higher else "nowhere shown to be higher;"
    yield f"lower {_listed(lower)};" if lower else "nowhere shown to be lower;"
    rest = count - len(higher) - len(lower)
    yield f"of the other {rest} nothing is claimed." if rest else "and no other is left."


def _listed(found: Sequence[OnTask]) -> str:
    """Returns `on FishSwim GoRL(FM) against PPO (0.2 [0.1, 0.3], p = 0.001)` and so on."""
    return ", ".join(
        f"on {each.task} {with_grounds(each.judged, p_words(each.p_holm))}" for each in found
    )


def _named_where(on_tasks: Sequence[OnTask]) -> str:
    """Returns on which tasks methods differ by the rate of false discoveries."""
    higher = [e for e in on_tasks if e.is_named and e.judged.difference.value > 0]
    lower = [e for e in on_tasks if e.is_named and e.judged.difference.value < 0]
    return (
        "The weaker question, where they probably differ, by the false discovery rate (Benjamini "
        f"and Hochberg; of all that is named at most {LEVEL:.0%} is expected to be no difference). "
        f"Higher: {_by_pair(higher)}. Lower: {_by_pair(lower)}."
    )


def _by_pair(found: Sequence[OnTask]) -> str:
    """Returns `FPO against PPO on CheetahRun, FishSwim; DPPO against PPO on CheetahRun`."""
    tasks: dict[str, list[str]] = {}
    for each in found:
        tasks.setdefault(pair_words(each.judged), []).append(each.task)
    return "; ".join(f"{pair} on {', '.join(on)}" for pair, on in tasks.items()) or "nowhere"


def _steps(results: Results) -> str:
    return f"Steps: {results.budget:,} each, equal to the step: {equal_budgets(results)}."


def tuning_words(results: Results) -> str:
    """Returns what the protocol tells of the searches behind the settings that were compared."""
    told = {
        label.method: dict(results.protocol.tuning.get(label.method, {}))
        for label in results.algorithms
    }
    silent = [Label(name) for name, each in told.items() if not each]
    if len(silent) == len(told):
        untold = _untold(silent)
        return f"Tuning: {untold}, so that it was equal cannot be read off it."
    searches = {
        name: {key: value for key, value in each.items() if key != "digest"}
        for name, each in told.items()
        if each
    }
    sentence = _searches(searches, results.tasks, "each other method" if silent else "each method")
    return f"{sentence} But {_untold(silent)}." if silent else sentence


def _untold(silent: Sequence[Label]) -> str:
    return f"the protocol tells of no search behind the settings of {named(silent)}"


def _searches(
    searches: Mapping[str, Mapping[str, int | str]], tasks: Sequence[str], whose: str
) -> str:
    first = next(iter(searches.values()))
    if any(each != first for each in searches.values()):
        listed = [f"{display_name(name)} {_effort(each)}" for name, each in searches.items()]
        return f"Tuning was not of equal effort: {'; '.join(listed)}."
    compared = sorted(set(str(first.get("tasks", "")).split(",")) & set(tasks))
    warning = f" {', '.join(compared)} is compared here too." if compared else ""
    return f"Tuning, the same for {whose}: {_effort(first)}.{warning}"


def _effort(found: Mapping[str, int | str]) -> str:
    counts = [
        f"{found[name]:,} {name if found[name] != 1 else name.removesuffix('s')}"
        for name in ("configurations", "seeds")
        if name in found
    ]
    total = found.get("total_steps")
    if total is None:
        total = math.prod(int(found.get(name, 1)) for name in ("configurations", "seeds", "steps"))
    tasks = str(found.get("tasks", "tasks that it does not name")).replace(",", ", ")
    return f"{' with '.join(counts)}, {int(total):,} steps at most, on {tasks}"
