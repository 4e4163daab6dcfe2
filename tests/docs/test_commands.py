"""Every command that a page shows: it exists, and whole pages run as a reader would type them.

A page shows commands in blocks of ```console, each behind `$ `, with what they print below where
that is shown; a ```diff is a change that the reader makes to a file of their own. A command that
ends otherwise than with 0 says so: `# ends with exit code 1`. What cannot be run has a comment
`<!-- not run: why -->` before its block, and is listed in `NOT_RUN`.

Readers see the real commands. What would take hours is run smaller, by `SMALLER` alone.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from docs.import_graph import PACKAGES
from suite.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)

NOT_RUN: Mapping[str, Sequence[str]] = {
    "installs": [
        "pip install -c constraints.txt -e '.[cluster]'",
        "python3 -m venv .venv",
        "source .venv/bin/activate",
        "pip install -c constraints.txt -e .",
    ],
    "starts services": [
        "dask scheduler --host 127.0.0.1 --no-dashboard",
        "env CUDA_VISIBLE_DEVICES=0 dask worker tcp://127.0.0.1:8786 --nthreads 1 --no-nanny"
        " --name worker-0",
        "env CUDA_VISIBLE_DEVICES=1 dask worker tcp://127.0.0.1:8786 --nthreads 1 --no-nanny"
        " --name worker-1",
        "suite run --algos ppo,fpo --tasks CheetahRun --seeds 2 --protocol smoke --out runs/tcp"
        " --on tcp://127.0.0.1:8786",
    ],
    "needs SLURM; a test runs it where there is one": [
        "suite run --algos ppo,gorl-fm --tasks CheetahRun,FingerSpin --seeds 2"
        " --protocol small.toml --out runs/slurm --on cluster.toml",
    ],
    "rewrites this page; tests/benchmarks/test_findings.py checks it": [
        "python -m benchmarks.findings"
    ],
    "hours of training": [
        "suite run --algos ppo-brax --tasks CheetahRun --seeds 5 --protocol brax"
        " --set protocol.total_steps=9830400 --out results/calibration/brax",
        "suite run --algos ppo,fpo --tasks CheetahRun --seeds 5 --protocol paper --engine jax"
        " --set protocol.total_steps=13762560 --set protocol.eval_interval=7"
        " --out results/gpu/paper",
        "suite ablate prior --on local:2",
        "suite run --algos gorl-gauss,gorl-identity,ppo-matched,ppo-matched-reset"
        " --tasks CheetahRun,CartpoleSwingup --seeds 3 --protocol lite"
        " --set '*.learning_rate=0.00156' --set '*.clip=0.14' --set '*.latent_penalty=0.00194'"
        " --set gorl-gauss.later_clip=0.28 --set gorl-identity.later_clip=0.28"
        " --set ppo-matched-reset.later_clip=0.14 --set gorl-gauss.later_latent_penalty=0.00388"
        " --set gorl-identity.later_latent_penalty=0.00388"
        " --set ppo-matched-reset.later_latent_penalty=0.00194"
        " --set gorl-gauss.decoder_epochs=58 --set gorl-gauss.decoder_learning_rate=0.000202"
        " --out results/lite-controls",
        "suite ablate kl --protocol lite --algos gorl-fm --seeds 6 --out results/lite-kl",
        "suite ablate stages --protocol lite --seeds 6 --out results/lite-stages",
        "suite ablate prior --protocol lite --seeds 5 --out results/lite-prior",
        "suite ablate restart --protocol lite --seeds 5 --out results/lite-restart",
        "suite run --algos ppo,fpo,dppo,gorl-fm,gorl-diff,ppo-brax,gorl-gauss,reinflow,dppo-ren,"
        "fpo-plus-plus,gorl-identity,ppo-matched,ppo-matched-reset --tasks CartpoleSwingup"
        " --seeds 3 --protocol lite --out results/lite-cartpole",
        "suite run --algos ppo-brax,gorl-gauss,reinflow,dppo-ren,fpo-plus-plus,gorl-identity,"
        "ppo-matched,ppo-matched-reset --tasks CheetahRun --seeds 3 --protocol lite"
        " --out results/lite-methods",
        "suite run --algos ppo,gorl-fm,gorl-diff,sac,gorl-sac-fm,gorl-sac-diff,rldt,rldt-warm"
        " --tasks CheetahRun,CartpoleSwingup --seeds 3 --protocol lite"
        " --set protocol.total_steps=1198080 --out results/lite-off-policy",
        "suite ablate benchmarks/ablations/dsrl.toml --out results/lite-dsrl",
    ],
    "trains on for minutes; tests/benchmarks/test_divergence.py does for a moment": [
        "python -m benchmarks.divergence results/lite"
    ],
    "evaluates for minutes and trains for hours; tests/suite/reproduction does both": [
        "suite audit results/controls-hopper/all --recompute --out recomputed.json",
        "suite audit results/controls-hopper/all --retrain 1",
        "suite report results/controls-hopper/all --recomputed recomputed.json",
    ],
    "needs EGL or OSMesa; tests/suite/watching/test_clip.py films a run where there is one": [
        "suite watch results/controls/all --task CheetahRun --algos ppo,gorl-fm --out clip.webp"
    ],
    "needs a run of one's own; the tutorial evaluates one": [
        "suite eval runs/mine --task CheetahRun --algo ppo --seed 0"
    ],
}
"""What no test runs, by the reason that its page gives."""

SMALLER = (
    (r"--protocol lite(?=\s|$)", "--protocol smoke"),
    (r"--tasks dmc6\b", "--tasks CheetahRun"),
    (r"--seeds [3-9]\b", "--seeds 2"),
    (r"--algos all\b", "--algos ppo,gorl-fm"),
    (r"protocols/lite\.toml", "protocols/smoke.toml"),
    (r"^(suite ablate \S+)", r"\1 --protocol smoke --seeds 1"),
    (r"^(suite ablate (?:normalizer|controls))", r"\1 --algos ppo"),
    # `smoke` is evaluated at its end only, so nothing can be dropped before.
    (r"^(suite tune .+)", r"\1 --rungs 1"),
    (r"^(suite (?:report|compare) .+)", r"\1 --reps 500"),
    # A run of `smoke` can be compared with another one only.
    (r"results/lite(?= runs/)", "stored"),
)
"""What is put in a command's place: pattern and replacement, one after the other."""

STORED = "suite run --algos ppo,fpo --tasks CheetahRun --seeds 2 --protocol smoke --out stored"
"""Makes what stands for results/lite where runs of `smoke` are compared with it."""

VENV = (".venv/bin/pip", ".venv/bin/pytest")
OTHERS = ("dask", "env", "python", "python3", "source", "cat", "pip", ".ci/run", *VENV)
"""Programs beside `suite` that pages may name."""

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>[^>]+) -->\n)?```(?P<language>\S*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
INLINE = re.compile(r"`(suite [^`]+)`")
RESULTS = re.compile(r"(?<![\w/.-])results/[\w-]+")
CHECKOUT = (*PACKAGES, "benchmarks")
"""Folders that commands may need, beside results that their pages name."""


class Block(NamedTuple):
    """A fenced block; `why` it is not run, if it is not."""

    language: str
    body: str
    why: str


class Shown(NamedTuple):
    """A command with what the page shows it to print, and the exit code that it tells."""

    text: str
    output: str
    code: int


def blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["body"], each["why"] or "") for each in found]


def commands(block: Block) -> Iterator[Shown]:
    """Yields the commands of a ```console, or the lines of a block of no language."""
    if block.language != "console":
        yield from (Shown(line, "", 0) for line in block.body.splitlines())
        return
    body = block.body.replace("\\\n", " ")
    assert body.startswith("$ "), f"the block begins without a command: {body}"
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        text, _, output = part.partition("\n")
        told = re.search(r"# ends with exit code (\d+)", text)
        yield Shown(text.strip(), output, int(told[1]) if told else 0)


def shown(*languages: str) -> list[tuple[str, str]]:
    """Returns every command of blocks of some languages with its page's name."""
    return [
        (page.relative_to(ROOT).as_posix(), command.text)
        for page in PAGES
        for block in blocks(page)
        if block.language in languages
        for command in commands(block)
    ]


def fault(text: str) -> str:
    """Returns what is wrong with a command, "" if nothing, and runs nothing."""
    name, *words = shlex.split(text, comments=True) or [""]
    if name != "suite":
        return "" if name in OTHERS else f"{name}: no program that pages may name"
    if not words or words[0] not in COMMANDS:
        return "" if words in ([], ["--help"], ["--version"]) else f"no such command: {words}"
    context = click.Context(cli, info_name="suite")
    command = cli.get_command(context, words[0])
    assert command is not None
    try:
        command.make_context(words[0], words[1:], parent=context)
    except click.ClickException as error:
        return error.format_message()
    except click.exceptions.Exit:  # of --help
        pass
    return ""


def test_every_command_exists_with_its_options() -> None:
    lines = shown("console")
    # README and CONTRIBUTING have theirs in blocks of no language, some behind others.
    lines += [(page, part) for page, line in shown("") for part in re.findall(r"suite .*", line)]
    told = {f"{page}: {line}": problem for page, line in lines if (problem := fault(line))}
    assert len(lines) > 20
    assert not told


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("suite run --algo ppo", "No such option"),
        ("suite report", "Missing argument"),
        ("suite run --lease-seconds x", "not a valid float"),
        ("suite trian", "no such command"),
        ("rm -r .", "no program"),
        ("suite report runs/lite --out report  # tables, figures", ""),
        ("suite run --help", ""),
    ],
)
def test_a_wrong_command_is_found(text: str, part: str) -> None:
    problem = fault(text)
    assert part in problem and bool(part) == bool(problem)


def test_every_option_that_a_sentence_names_exists() -> None:
    """`suite list deviations` in a sentence may lack its arguments, but not its option."""
    spans = [
        (page.name, span)
        for page in PAGES
        for span in INLINE.findall(page.read_text(encoding="utf-8").replace("\n", " "))
    ]
    wrong = [(page, span) for page, span in spans if not is_known(span)]
    assert len(spans) > 50
    assert not wrong


def is_known(span: str) -> bool:
    """Returns whether the command and all options of it exist."""
    name, *words = span.split()[1:] or [""]
    if name.startswith("-") or name.isupper():
        return True
    if name not in COMMANDS:
        return False
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    return {word.partition("=")[0] for word in words if word.startswith("--")} <= {*known, "--help"}


def test_a_wrong_option_in_a_sentence_is_found() -> None:
    assert is_known("suite report RUN_DIR --mode published")
    assert not is_known("suite report --modes published")
    assert not is_known("suite reports")


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.why:
                found.setdefault(block.why, []).extend(each.text for each in commands(block))
    assert found == NOT_RUN


def test_everything_that_makes_commands_smaller_is_needed() -> None:
    lines = [line for _, line in shown("console")]
    assert not [old for old, _ in SMALLER if not any(re.search(old, line) for line in lines)]


def test_the_changes_that_the_tutorial_shows_fit_what_it_has_written(tmp_path: Path) -> None:
    written = CliRunner().invoke(cli, ["new-algo", "my_method", "--out", str(tmp_path)])
    assert written.exit_code == 0, written.output
    changes = [each.body for each in blocks(ROOT / "docs/tutorial.md") if each.language == "diff"]
    assert len(changes) == 2
    for change in changes:
        apply(change, tmp_path)
    text = (tmp_path / "my_method.py").read_text(encoding="utf-8")
    compile(text, "my_method.py", "exec")
    assert max(map(len, text.splitlines())) <= 100


def smaller(text: str) -> str:
    for old, new in SMALLER:
        text = re.sub(old, new, text)
    return text


RUN_PAGES = [
    page
    for page in PAGES
    if any(block.language == "console" and not block.why for block in blocks(page))
]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without results and tests, but with the directory `stored` of `SMALLER`."""
    directory = tmp_path_factory.mktemp("pages") / "checkout"
    for name in CHECKOUT:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, directory / name, ignore=ignored)
    run_shown(Shown(STORED, "", 0), directory)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.stem)
def test_a_page_runs_from_its_first_command_to_its_last(
    page: Path, checkout: Path, tmp_path: Path
) -> None:
    here = shutil.copytree(checkout, tmp_path / "checkout")
    for name in set(RESULTS.findall(page.read_text(encoding="utf-8"))):
        shutil.copytree(ROOT / name, here / name)
    for block in blocks(page):
        if block.language == "diff":
            apply(block.body, here)
        if block.language == "console" and not block.why:
            for command in commands(block):
                run_shown(command, here)


def run_shown(command: Shown, directory: Path) -> None:
    """Runs a command in a checkout, smaller if need be; compares its end and what it prints."""
    text = smaller(command.text)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        ["bash", "-c", text],
        cwd=directory,
        env={**os.environ, "PATH": programs, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"$ {text}\n{ended.stdout}{ended.stderr}"
    assert ended.returncode == command.code, told
    if command.output and text == command.text:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        matches = doctest.OutputChecker().check_output(command.output, ended.stdout, flags)
        assert matches, f"the page shows\n{command.output}\nbut\n{told}"


def apply(change: str, directory: Path) -> None:
    """Makes the change that a page shows, which fails if the file is not as the page has it."""
    subprocess.run(["git", "apply", "-p0", "-"], cwd=directory, input=change, text=True, check=True)
