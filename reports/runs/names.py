"""What runs are called: the labels of algorithms, the order and the names that readers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DISPLAY_NAMES: Mapping[str, str] = {
    "ppo": "PPO",
    "fpo": "FPO",
    "dppo": "DPPO",
    "gorl-fm": "GoRL(FM)",
    "gorl-diff": "GoRL(Diff)",
    "gorl-identity": "GoRL (identity decoder)",
    "ppo-matched": "PPO matched",
    "ppo-matched-reset": "PPO matched (reset)",
    "ppo-brax": "PPO (Brax's settings)",
    "gorl-gauss": "GoRL(Gauss)",
    "sac": "SAC",
    "gorl-sac-fm": "GoRL(SAC+FM)",
    "gorl-sac-diff": "GoRL(SAC+Diff)",
    "rldt": "RLDT",
    "rldt-warm": "RLDT (from PPO)",
    "fpo-plus-plus": "FPO++",
    "reinflow": "ReinFlow",
    "dppo-ren": "DPPO (Ren et al.)",
}
"""The five methods, their controls and other baselines, in the order of every table and figure."""

METHODS: tuple[str, ...] = tuple(DISPLAY_NAMES)[:5]
"""The five methods alone."""

MAX_NAMED = 6
"""Runs or files that a sentence names before it only counts the others."""


_OF_DIRECTORY = "results of "


class Label(str):
    """What runs of one algorithm in one setting are called: `NAME`, or `NAME [CHANGES]`.

    A label is its text, so it can be a key, be sorted and be written as it is. This is the only
    place that knows the grammar.
    """

    __slots__ = ()

    @property
    def method(self) -> str:
        """The algorithm's name, without the changes of a variant."""
        return self.partition(" [")[0]

    @property
    def changes(self) -> str:
        """What is in the brackets, empty without any."""
        return self.partition(" [")[2].removesuffix("]")

    @property
    def is_variant(self) -> bool:
        """Whether it says more than the algorithm's name."""
        return self.method != self

    @property
    def setting(self) -> str:
        """The label without the directory that its results are of, where it names one."""
        kept = [each for each in self.changes.split(", ") if not each.startswith(_OF_DIRECTORY)]
        return f"{self.method} [{', '.join(kept)}]" if any(kept) else self.method

    def of_directory(self, directory: str) -> Label:
        """Returns the label of results that another directory has otherwise."""
        return self.with_change(f"{_OF_DIRECTORY}{directory}")

    def with_change(self, change: str) -> Label:
        """Returns the label with one more change in its brackets."""
        changes = f"{self.changes}, {change}" if self.is_variant else change
        return Label(f"{self.method} [{changes}]")


def algorithm_order(label: str) -> tuple[int, str]:
    """Returns a sort key: the five methods, controls, baselines, then others by alphabet."""
    name = Label(label).method
    known = list(DISPLAY_NAMES)
    return (known.index(name) if name in DISPLAY_NAMES else len(known), label)


def display_name(label: str) -> str:
    """Returns the name to show for an algorithm's label: `GoRL(FM) [clip=0.2]`."""
    name = Label(label).method
    return DISPLAY_NAMES.get(name, name) + label[len(name) :]


def named(algorithms: Sequence[str]) -> str:
    """Returns the names to show for one or more algorithms: `PPO, FPO and DPPO`."""
    names = [display_name(algorithm) for algorithm in algorithms]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """Returns the first `MAX_NAMED` names and how many more there are."""
    shown = list(names[:MAX_NAMED])
    more = len(names) - len(shown)
    return separator.join([*shown, f"and {more} more"] if more else shown)
