"""What the command line tells of itself: help, lists, and where each command is."""

from __future__ import annotations

import json
import resource

import click
import pytest
from commanding import Suite, python

from algorithms import registry
from suite import cli
from suite.catalog.listings import LISTINGS
from suite.commands.look import list_


def test_help_costs_less_than_half_a_second_of_cpu() -> None:
    def cpu_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    python("-m", "suite.cli", "--help")  # writes the byte code
    before = cpu_seconds()
    result = python("-m", "suite.cli", "--help")
    assert cpu_seconds() - before < 0.5
    assert result.returncode == 0
    for command in cli.COMMANDS:
        assert f"  {command} " in result.stdout


def test_nothing_heavy_is_imported_for_help_and_cheap_lists() -> None:
    program = (
        "import sys; from suite.cli import run_command\n"
        "for a in ('--help', 'run --help', 'report --help', 'list tasks', 'list protocols'):\n"
        "    assert run_command(a.split()) == 0\n"
        "heavy = {'jax', 'numpy', 'mujoco', 'pandas', 'flax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = python("-c", program)
    assert result.returncode == 0, result.stderr


def test_every_command_is_where_it_is_said_to_be() -> None:
    context = click.Context(cli.cli)
    for name in cli.COMMANDS:
        command = cli.cli.get_command(context, name)
        assert command is not None and command.name == name
        assert command.get_short_help_str()


def test_help_fits_a_narrow_terminal_with_every_command_under_its_theme(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = suite("--help").out.splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")]
    for theme, commands in cli.THEMES.items():
        first = lines.index(f"{theme}:") + 1
        listed = lines[first : first + len(commands)]
        assert [line.split()[0] for line in listed] == list(commands)
        assert max(map(len, listed)) <= 80


def test_every_option_of_every_command_says_what_it_is() -> None:
    context = click.Context(cli.cli)
    commands = {name: cli.cli.get_command(context, name) for name in cli.COMMANDS}
    silent = [
        f"{name} {param.opts[0]}"
        for name, command in commands.items()
        for param in (command.params if command else ())
        if isinstance(param, click.Option) and not param.help
    ]
    assert not silent


def test_what_can_be_listed_is_what_there_are_listings_of() -> None:
    (what,) = (each for each in list_.params if each.name == "what")
    assert isinstance(what.type, click.Choice)
    assert list(what.type.choices) == list(LISTINGS)


def test_a_value_that_is_not_its_class_s_is_not_given_the_class_s_source(suite: Suite) -> None:
    """`ppo-brax` has 1e-3 where the docstring of PPO's field tells why it is 3e-4."""
    (listed,) = json.loads(suite("list", "algos", "--algo", "ppo-brax", "--json").out)
    fields = {each["name"]: each for each in listed["hyperparameters"]}
    own = [name for name, each in fields.items() if "this method's own" in each["description"]]
    assert {name: fields[name]["default"] for name in own} == registry.lookup("ppo-brax").defaults
    (plain,) = json.loads(suite("list", "algos", "--algo", "ppo", "--json").out)
    assert not any("method's own" in each["description"] for each in plain["hyperparameters"])


def test_list(suite: Suite) -> None:
    algos = json.loads(suite("list", "algos", "--json").out)
    assert [each["name"] for each in algos][:5] == ["ppo", "fpo", "dppo", "gorl-fm", "gorl-diff"]
    fields = {each["name"]: each for each in algos[0]["hyperparameters"]}
    assert fields["learning_rate"]["default"] == 3e-4
    undocumented = [
        f"{algo['name']}.{field['name']}"
        for algo in algos
        for field in algo["hyperparameters"]
        if not field["description"]
    ]
    assert not undocumented
    assert fields["learning_rate"]["tuned"] == "0.0001 to 0.003, logarithmic"
    assert {each["group"] for each in algos} == {"compared", "control", "baseline"}
    text = suite("list", "algos").out
    rows = [line for line in text.splitlines() if line.split()[0] in {a["name"] for a in algos}]
    assert len(rows) == len(algos) and "learning_rate" not in text
    listed = {
        each["name"]: each["sets"] for each in json.loads(suite("list", "tasks", "--json").out)
    }
    assert listed["CheetahRun"] == ["dmc6"]
    assert "Task sets are names for --tasks" in suite("list", "tasks").out
    assert listed["HumanoidRun"] == ["humanoid2"]
    assert listed["HumanoidWalk"] == []
    protocols = json.loads(suite("list", "protocols", "--json").out)
    assert [(each["name"], each["updates"]) for each in protocols][:3] == [
        ("paper", 183),
        ("paper2026", 183),
        ("fair", 183),
    ]


def test_list_of_one_method(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_of_files", {})
    text = suite("list", "algos", "--algo", "ppo").out
    assert "learning_rate = 0.0003  (a finite number; above 0; tuned: 0.0001 to 0.003" in text
    assert "gorl-fm:" not in text
    unknown = suite("list", "algos", "--algo", "ppoo")
    assert unknown.code == 2 and "did you mean 'ppo'" in unknown.err
    assert suite("new-algo", "mine").code == 0
    (own,) = json.loads(suite("list", "algos", "--algo", "./mine.py", "--json").out)
    assert (own["name"], own["group"]) == ("mine", "yours")
