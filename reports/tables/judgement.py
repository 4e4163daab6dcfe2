"""The table of verdicts on new methods."""

from __future__ import annotations

import math

from reports.analysis.sentences import interval_rule, score_rule
from reports.judgement.deciding import POWER
from reports.judgement.verdicts import Judged, Judgement
from reports.judgement.wording import seeds_words, verdict_words
from reports.runs.names import display_name
from reports.tables.entries import estimate_entry, make_table, p_value_entry
from reports.tables.table import Entry, Table
from suite.common.claim_floor import ENUMERATED, LEVEL

COLUMNS = (
    "new",
    "against",
    "verdict",
    "mean difference",
    "p differ (Holm)",
    "p within margin (Holm)",
    "seeds to decide",
)


def judgement_table(judgement: Judgement) -> Table:
    """Every new method against every stored one: the verdict and what it rests on."""
    analysis = judgement.analysis
    rows = [
        (
            Entry(display_name(pair.new), None, analysis.scores.run_ids(pair.new)),
            Entry(display_name(pair.stored), None, analysis.scores.run_ids(pair.stored)),
            Entry(verdict_words(pair, judgement.margin)),
            estimate_entry(pair.difference),
            p_value_entry(pair.p_different_holm),
            p_value_entry(pair.p_equivalent_holm),
            _seeds(judgement, pair),
        )
        for pair in judgement.pairs
    ]
    title = "New methods against stored ones"
    return make_table("judgement", title, COLUMNS, rows, _note(judgement))


def _seeds(judgement: Judgement, pair: Judged) -> Entry:
    """Returns `12 (+9, +7)`: seeds of each that would decide, and how many that is more."""
    if not pair.is_open:
        return Entry("")
    seeds = judgement.seeds(pair)
    if not math.isfinite(seeds):
        return Entry(seeds_words(seeds), None if math.isnan(seeds) else seeds)
    present = (min(side) for side in zip(*pair.sizes, strict=True))
    more = ", ".join(f"+{max(0, int(seeds) - n)}" for n in present)
    return Entry(f"{seeds_words(seeds)} ({more})", seeds)


def _note(judgement: Judgement) -> str:
    analysis, margin, count = judgement.analysis, f"{judgement.margin:g}", len(judgement.pairs)
    lacking = judgement.shortage
    unreachable = sum(not pair.can_differ for pair in judgement.pairs)
    which = f" {unreachable} of {count} pairs apart"
    few = f" There are {lacking.sentence(which)}." if lacking else ""
    return (
        f"Mean score of the new method less that of the other [{interval_rule(analysis)}]. "
        "Better or worse: they differ, by the permutation test of the pairwise comparisons. "
        f"Equivalent: they differ by less than {margin}, by two one-sided permutation tests with "
        f"the scores moved by {margin}. A difference that is shown, but also to be smaller, is "
        f"marked as within {margin}. All permutations, or {analysis.repetitions:,} of more than "
        f"{ENUMERATED:,}. p: Holm-corrected for the {count} pair{'s' * (count != 1)} of this "
        "table, differences and equivalences apart; the table of all pairs corrects for all and "
        f"may claim less. Claimed below {LEVEL:g}. Seeds to decide: of each method on each task, "
        f"to show either with probability {POWER:g}, in brackets how many more that is of the new "
        "method and of the other; simulated as if the true difference were the observed one on "
        "every task and runs scattered as the stored ones do, so a guess where these are few."
        f"{few} {score_rule(analysis)}"
    )
