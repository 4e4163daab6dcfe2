"""Answers that an object keeps for as long as it lives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

Owner = TypeVar("Owner")
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def remembered(
    method: Callable[Concatenate[Owner, Arguments], Answer],
) -> Callable[Concatenate[Owner, Arguments], Answer]:
    """Makes a method compute each answer once, as `functools.cached_property` does for one.

    `functools.cache` on a method would keep every object that was ever asked alive; here the
    answers go when their object does. The arguments must be hashable.
    """
    name = f"_answers_of_{method.__name__}"

    @functools.wraps(method)
    def answer(owner: Owner, /, *args: Arguments.args, **named: Arguments.kwargs) -> Answer:
        answers = vars(owner).setdefault(name, {})
        question = (args, tuple(sorted(named.items())))
        if question not in answers:
            answers[question] = method(owner, *args, **named)
        found: Answer = answers[question]
        return found

    return answer
