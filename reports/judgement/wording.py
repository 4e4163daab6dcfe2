"""A judgement in sentences."""

from __future__ import annotations

import math

from reports.analysis.claims import SMALLEST_TOLD
from reports.judgement.power import MAX_SEEDS
from reports.judgement.verdicts import Judged, Judgement
from reports.runs.names import display_name, named
from suite.common.claim_floor import LEVEL

JOINED = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "undecided": "undecided against",
    "undecidable": "undecidable against",
}
"""What a verdict is followed by the other method with."""


def judgement_sentences(judgement: Judgement) -> tuple[str, ...]:
    """Returns what the new methods are against the stored ones, a sentence for each."""
    if not judgement.analysis.algorithms:
        return (f"{named(judgement.new)} cannot be judged: there are no scores.",)
    sentences = [_of_one(judgement, new) for new in judgement.new]
    return tuple(filter(None, (*sentences, _left_out(judgement))))


def verdict_words(judged: Judged, margin: float) -> str:
    """Returns the verdict: `better`, or `better, within 0.05` if it is by less than the margin."""
    small = judged.outcome in ("better", "worse") and judged.is_within
    return f"{judged.outcome}, within {margin:g}" if small else judged.outcome


def seeds_words(seeds: float) -> str:
    """Returns how many seeds would decide: `12`, `more than 100`, `unknown` with single runs."""
    if math.isnan(seeds):
        return "unknown"
    return f"more than {MAX_SEEDS}" if math.isinf(seeds) else f"{seeds:g}"


def p_words(p_value: float) -> str:
    """Returns `p = 0.0123`, or `p < 0.001`."""
    return f"p < {SMALLEST_TOLD:g}" if p_value < SMALLEST_TOLD else f"p = {p_value:.4f}"


def _of_one(judgement: Judgement, new: str) -> str:
    pairs = [pair for pair in judgement.pairs if pair.new == new]
    if not pairs:
        return ""
    parts = [
        f"{JOINED[pair.outcome]} {display_name(pair.stored)} ({_grounds(judgement, pair)})"
        for pair in sorted(pairs, key=lambda pair: list(JOINED).index(pair.outcome))
    ]
    listed = ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]
    count = len(judgement.pairs)
    lacking = judgement.shortage if "undecidable" in {pair.outcome for pair in pairs} else None
    few = f" {lacking.sentence('').capitalize()}." if lacking else ""
    return (
        f"{display_name(new)}, which is new, is {listed}, by mean scores with a margin of "
        f"{judgement.margin:g} (permutation tests at {LEVEL:g}, Holm-corrected for {count} "
        f"pair{'s' * (count != 1)} with a new method).{few}"
    )


def _grounds(judgement: Judgement, pair: Judged) -> str:
    """Returns the difference with what the verdict rests on, or what it would take."""
    if pair.outcome == "undecidable":
        return str(pair.difference)
    if pair.outcome == "undecided":
        seeds = seeds_words(judgement.seeds(pair))
        return f"{pair.difference}; seeds of each that would decide: {seeds}"
    small = f", so within {judgement.margin:g}" if "," in verdict_words(pair, 1) else ""
    p_value = pair.p_equivalent_holm if pair.outcome == "equivalent" else pair.p_different_holm
    return f"{pair.difference}, {p_words(p_value)}{small}"


def _left_out(judgement: Judgement) -> str:
    if not judgement.left_out:
        return ""
    return f"Not judged, as without a score on some task: {named(judgement.left_out)}."
