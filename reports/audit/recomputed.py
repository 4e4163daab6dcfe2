"""What making numbers again says: as checks of an audit, and in the stamp of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from reports.audit.check import Check
from reports.runs.names import listed
from suite.common.formatting import count
from suite.storage.recomputation import NOT_KEPT, Recomputation, Replayed, Retrained

RECOMPUTED, NOT_RECOMPUTED, RETRAINED = "recomputed", "not recomputed", "retrained"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What a report says of making its numbers again.

    Attributes:
        failed: whether some came out otherwise.
        text: sentences.
    """

    failed: bool
    text: str


def recomputation_checks(found: Recomputation) -> tuple[Check, ...]:
    """Returns the checks of what was made again, none of what was not asked for."""
    checks = []
    if found.replayed:
        checks += [_replayed_check(found.replayed), _missing_check(found.replayed)]
    if found.retrained:
        checks.append(_retrained_check(found.retrained, found.draw_seed))
    return tuple(checks)


def stamp_of(found: Recomputation, digests: Collection[str]) -> Stamp | None:
    """Returns what a report says of its runs.

    Args:
        found: what was made again, of these runs or of more.
        digests: `suite.storage.recomputation.content_digest` of each of the report's runs.

    Returns:
        None if nothing of these very contents was made again.
    """
    replayed = tuple(each for each in found.replayed if each.digest in digests)
    retrained = tuple(each for each in found.retrained if each.digest in digests)
    checks = recomputation_checks(
        dataclasses.replace(found, replayed=replayed, retrained=retrained)
    )
    if not checks:
        return None
    left = len({*digests} - {each.digest for each in replayed}) if replayed else 0
    texts = [f"{check.name.capitalize()}: {check.text}." for check in checks]
    if left:
        texts.append(f"Nothing was recomputed of {_runs(left, 'other ')}.")
    failed = any(check.verdict == "failed" for check in checks)
    return Stamp(failed, f"On {found.machine}: {' '.join(texts)}")


def _replayed_check(replayed: Sequence[Replayed]) -> Check:
    faults = [
        f"{each.cell} after {one.updates} updates: {one.fault}"
        for each in replayed
        for one in each.evaluations
        if one.fault
    ]
    faults += [f"{each.cell}: {fault}" for each in replayed for fault in each.faults]
    if faults:
        why = _elsewhere([each for each in replayed if _is_faulty(each)])
        return Check(RECOMPUTED, "failed", listed(faults, "; ") + (f" ({why})" if why else ""))
    made = [one for each in replayed for one in each.evaluations]
    if not made:
        return Check(RECOMPUTED, "warning", "no evaluation could be made again")
    runs = [each for each in replayed if each.evaluations]
    last = sum(each.last in {one.updates for one in each.evaluations} for each in runs)
    returns, equal = sum(one.returns for one in made), sum(one.equal for one in made)
    text = (
        f"{len(made)} evaluations of {len(runs)} of {_runs(len(replayed))}, the scored last one of "
        f"{last}; {count(equal)} of {count(returns)} returns equal bit for bit"
    )
    if equal < returns:
        text += f", the others within rounding ({_elsewhere(runs)})"
    # What was not played again is told by another check, but a score that was not is no "ok".
    return Check(RECOMPUTED, "ok" if last == len(replayed) else "warning", text)


def _runs(number: int, which: str = "") -> str:
    return f"{number} {which}run{'' if number == 1 else 's'}"


def _is_faulty(replayed: Replayed) -> bool:
    return bool(replayed.faults) or any(one.fault for one in replayed.evaluations)


def _elsewhere(replayed: Sequence[Replayed]) -> str:
    """Says what is not here as it was where runs were made, "" if all of it is."""
    different = list(dict.fromkeys(text for each in replayed for text in each.elsewhere))
    return f"made with {listed(different)}" if different else ""


def _missing_check(replayed: Sequence[Replayed]) -> Check:
    reasons: dict[str, list[int]] = {}
    for each in replayed:
        for one in each.missing:
            reasons.setdefault(one.reason, []).append(one.evaluations)
    if not reasons:
        return Check(NOT_RECOMPUTED, "ok", "every stored evaluation was made again")
    texts = [
        f"{sum(counts)} evaluations of {_runs(len(counts))}, as {reason}"
        for reason, counts in reasons.items()
    ]
    usual = reasons.keys() == {NOT_KEPT}
    return Check(NOT_RECOMPUTED, "not recorded" if usual else "warning", listed(texts, "; "))


def _retrained_check(retrained: Sequence[Retrained], draw_seed: int | None) -> Check:
    drawn = "" if draw_seed is None else f" (drawn by seed {draw_seed})"
    faults = [f"{each.cell}: {fault}" for each in retrained for fault in each.faults]
    if faults:
        return Check(RETRAINED, "failed", listed(faults, "; ") + drawn)
    left = [f"{each.cell}: {each.reason}" for each in retrained if each.reason]
    same = [each.cell for each in retrained if not each.reason]
    text = f"{listed(same)}: every byte but times is equal" if same else "none"
    if left:
        return Check(RETRAINED, "warning", f"{text}; not of {listed(left, '; ')}{drawn}")
    return Check(RETRAINED, "ok", f"{text}{drawn}")
