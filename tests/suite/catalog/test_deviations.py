"""The table of deviations and the page of switches: complete, and true of the code."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path

import pytest

from algorithms.names import ALL, NAMES
from algorithms.registry import entries
from suite import cli
from suite.catalog.deviations import (
    COMPARED,
    EVERY,
    Resolved,
    load_deviations,
    presets_json,
    render,
    resolve,
    rows,
    stored,
)
from suite.catalog.switches import markdown, switches
from suite.configuration.hyperparameters import hyperparameter_fields
from suite.configuration.protocol import Protocol

GORL, GORL_SAC = ("gorl-fm", "gorl-diff"), ("gorl-sac-fm", "gorl-sac-diff")
ROOT = Path(__file__).resolve().parents[3]
NOTES = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")

NOT_COMPARED = {"name", "description", "algorithms", "tuning"}
"""Fields of a protocol that describe it, or that the algorithms' fields say again."""

NO_DEVIATION_OF_OURS = {"u"}
"""Rows of ALGORITHMS 3.3: its plots are the paper's own."""


def section(number: str) -> str:
    """Returns a section of docs/algorithms.md, of level 2 or 3, without those below it."""
    found = re.search(
        rf"^#+ {re.escape(number)}\.? .*?(?=^#+ |\Z)", NOTES, flags=re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/algorithms.md has no section {number}"
    return found[0]


def test_every_source_is_a_place_in_the_notes() -> None:
    for deviation in load_deviations():
        assert deviation.source, deviation.topic
        for source in deviation.source:
            number, _, row = source.partition(" ")
            assert not row or f"\n| {row} |" in section(number), source


def test_every_row_of_the_notes_table_is_told() -> None:
    told = {
        source[4:] for each in load_deviations() for source in each.source if source[:4] == "3.3 "
    }
    lettered = set(re.findall(r"^\| ([a-z]) \|", section("3.3"), flags=re.MULTILINE))
    assert len(lettered) == 24
    assert lettered - told == NO_DEVIATION_OF_OURS


@pytest.mark.parametrize("preset", COMPARED[:-1])
def test_every_difference_between_a_paper_and_fair_has_an_entry(preset: str) -> None:
    paper, fair = resolve(preset), resolve("fair")
    shared = {field.name for field in dataclasses.fields(Protocol)} - NOT_COMPARED
    for name in NAMES:
        fields = {f"protocol.{field}" for field in shared}
        fields |= set(hyperparameter_fields(entries()[name].cls))
        differing = {f for f in fields if paper.value(name, f) != fair.value(name, f)}
        told = {f for each in load_deviations() if each.concerns(name) for f in each.fields}
        assert len(differing) >= (6 if preset == "paper" else 4)
        assert differing <= told, name


def test_every_field_of_an_entry_exists() -> None:
    for deviation in load_deviations():
        everyone = EVERY in deviation.algorithms
        names = NAMES if everyone else deviation.algorithms
        assert set(names) <= set(NAMES)
        fair = resolve("fair")
        for field in deviation.fields:
            having = [n for n in names if "." in field or field in fair.hyperparameters[n]]
            assert having if everyone else len(having) == len(names)
            fair.value(having[0], field)  # raises KeyError


def test_a_method_need_not_have_what_concerns_all() -> None:
    advantages = next(each for each in load_deviations() if "gae_lambda" in each.fields)
    own = Resolved(resolve("fair").protocol, {"mine": {"rate": 1.0}})
    assert own.shown(advantages, ["mine"]) == {"protocol.chunk_length": "30"}


def test_no_entry_types_a_value_that_only_the_code_should_know() -> None:
    """`paper` and `fair` are looked up: changing a preset changes the table."""
    known = {"topic", "algorithms", "fields", "paper_text", "reference_code", "source", "reason"}
    known |= {"text_2026"}
    text = (ROOT / "suite" / "catalog" / "deviations.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+) = ", text, flags=re.MULTILINE)) == known
    # A value that a reason names in the way of a setting must be one that the field can take.
    for deviation in load_deviations():
        for field, value in re.findall(r"\b(\w+)=(\w+)", deviation.reason):
            hints = {f: h for n in ALL for f, h in hyperparameter_fields(entries()[n].cls).items()}
            assert value in typing.get_args(hints[field])


def test_the_stored_presets_are_not_stale() -> None:
    """Reports read them; they show what the code resolves to, field by field."""
    file = (ROOT / "suite" / "catalog" / "presets.json").read_text(encoding="utf-8")
    command = "python -m suite.catalog.deviations > suite/catalog/presets.json"
    assert file == f"{presets_json()}\n", f"write it again: {command}"
    for preset in COMPARED:
        assert stored(preset).protocol == resolve(preset).protocol
        assert tuple(stored(preset).hyperparameters) == NAMES
        for deviation in load_deviations():
            names = [name for name in NAMES if deviation.concerns(name)]
            shown = stored(preset).shown(deviation, names)
            assert shown == resolve(preset).shown(deviation, names)


@pytest.mark.parametrize("name", ["gorl-fm", "ppo"])
def test_rows_hold_what_the_presets_resolve_to(name: str) -> None:
    by_topic = {row["topic"]: row for row in rows(name)}
    variance = by_topic["observation variance"]
    assert variance["paper"] == {"protocol.normalizer": "legacy"}
    assert variance["fair"] == {"protocol.normalizer": "cumulative"}
    assert variance["differ"] is True
    assert by_topic["rollout geometry"]["differ"] is False
    if name == "gorl-fm":
        assert by_topic["decoder data"]["paper"]["decoder_rollouts"] == "20"
        assert by_topic["decoder data"]["fair"]["decoder_rollouts"] == "10"
        assert by_topic["decoder data"]["paper2026"]["decoder_rollouts"] == "2"
        assert "512,000" in by_topic["decoder data"]["text_2026"]
    else:
        assert "decoder data" not in by_topic


def test_gorl_is_told_of_whichever_encoder_it_has() -> None:
    with_sac, with_ppo = (
        {row["topic"]: row for row in rows(name)} for name in ("gorl-sac-diff", "gorl-diff")
    )
    for topic in ("decoder data", "size of the decoder", "noise of the decoder fit"):
        # `paper` is a code's that knows GoRL with PPO alone.
        for preset in COMPARED[1:]:
            assert with_sac[topic][preset] == with_ppo[topic][preset]
    assert with_sac["GoRL whose encoder is SAC"]["paper2026"]["batch_size"] == "256"


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["list", "deviations", "--algo", "fpo", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    ratio = next(row for row in listed if row["topic"] == "ratio")
    assert ratio["paper"] == ratio["fair"] == {"ratio": "averaged"}
    assert not [row for row in listed if "gorl-fm" in row["concerns"]]

    assert cli.run_command(["list", "deviations"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{each.topic}  (ALGORITHMS" in shown for each in load_deviations())
    # Below a heading of several methods each value is that of all that it does not name.
    samples = shown.partition("\ndecoder data  (ALGORITHMS")[2].partition("why")[0]
    told = "decoder_rollouts = 20 (gorl-fm, gorl-diff, gorl-gauss); 10 (gorl-sac-fm, gorl-sac-diff)"
    assert told in " ".join(samples.split()).replace("- ", "-")
    gorl = "gorl-fm, gorl-diff, gorl-gauss, gorl-sac-fm, gorl-sac-diff"
    for heading in ("=== all ===", f"=== {gorl} ===", "=== dppo ==="):
        assert shown.count(heading) == 1
    # What `fair` has is said of `paper`, though `paper2026` stands between them.
    rates = shown.partition("\nlearning rate  (ALGORITHMS 1.5)\n")[2].splitlines()[3:6]
    assert [" ".join(line.split()) for line in rates] == [
        "`paper` learning_rate = 0.0003",
        "`paper2026` learning_rate = 0.001",
        "`fair` as `paper`",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("deviations", "--algo", "fpoo"), "unknown algorithm 'fpoo'; did you mean 'fpo'"),
        (("tasks", "--algo", "fpo"), "--algo goes with `suite list algos` or deviations"),
    ],
)
def test_bad_input(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    assert cli.run_command(["list", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and expected in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("width", [60, 100])
def test_text_fits_the_terminal(width: int) -> None:
    lines = render(rows(), width).splitlines()
    headings = [line for line in lines if "(ALGORITHMS" in line]
    assert len(headings) == len(load_deviations())
    assert max(len(line) for line in lines if line not in headings) <= width


def test_every_choice_is_a_switch_with_its_flag_and_its_ways() -> None:
    by_flag = {switch.flag: switch for switch in switches()}
    ratio = by_flag["--set fpo.ratio=VALUE"]
    assert (ratio.values, ratio.acts_on) == ("averaged, per-pair", "fpo")
    restart = by_flag["--set '*.encoder_restart=VALUE'"]
    assert restart.values == "gaussian, fresh, warm"
    staged = [*GORL, "gorl-identity", "ppo-matched-reset", "gorl-gauss", *GORL_SAC]
    assert restart.acts_on == ", ".join(staged)
    wiped = "gaussian; fresh (ppo-matched-reset)"
    assert restart.presets == {
        "paper": "fresh; gaussian (gorl-sac-fm, gorl-sac-diff)",
        "paper2026": wiped,
        "fair": wiped,
        "brax": wiped,
        "lite": wiped,
        "smoke": wiped,
    }
    penalty = by_flag["--set '*.latent_penalty=VALUE'"].presets["lite"]
    assert penalty == "0.0005; 0.0 (ppo, ppo-brax); 0.00194 (gorl-fm, gorl-diff)"
    for name in NAMES:
        for field, hint in hyperparameter_fields(entries()[name].cls).items():
            if typing.get_origin(hint) is typing.Literal and field != "generative_model":
                assert any(f".{field}=" in flag for flag in by_flag), field


def test_the_page_of_switches_is_not_stale() -> None:
    page = (ROOT / "docs" / "switches.md").read_text(encoding="utf-8")
    assert page == markdown(), "write it again: python -m suite.catalog.switches > docs/switches.md"
