"""The site: what its pages compute and quote from the code is current, and all of it is built."""

from __future__ import annotations

import dataclasses
import doctest
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs import catalog
from suite.cli import COMMANDS, cli
from suite.common import formatting
from suite.configuration.protocol import PRESETS, Protocol, load_protocol

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
COMPUTED = [page for page in sorted(DOCS.glob("*.md")) if "```pycon" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", COMPUTED, ids=lambda page: page.stem)
def test_every_number_of_an_example_is_what_the_code_computes(page: Path) -> None:
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 0
    assert found.failed == 0


def cells(text: str) -> dict[str, list[str]]:
    """Returns the rows of Markdown tables by their first cell, without its backticks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row[1:] for row in reversed(rows)}


def test_the_page_of_protocols_has_every_field_with_its_value_in_every_preset() -> None:
    text = catalog.protocols()
    _, values, changes, documents = text.split("\n## ")
    rows, told = cells(values), cells(documents)
    presets = [load_protocol(name) for name in PRESETS]
    fields = {field.name for field in dataclasses.fields(Protocol)}
    assert set(told) == {*fields, "updates", "fingerprint"}
    assert all(told.values())
    assert rows.keys() == told.keys() - {
        "name",
        "description",
        "algorithms",
        "tuning",
        "published_mode",
    }
    for name, row in rows.items():
        expected = [getattr(each, name) for each in presets if name != "fingerprint"]
        assert row == [formatting.shown(each) or "none" for each in expected] or not expected
    for each in presets:
        for method, settings in each.algorithms.items():
            (line,) = (
                line
                for line in changes.splitlines()
                if line.startswith(f"| `{each.name}` | `{method}` |") and "found by" not in line
            )
            assert all(f"{field} = " in line for field in settings)


def test_the_page_of_methods_says_what_suite_list_says() -> None:
    text = catalog.hyperparameters()
    told = json.loads(CliRunner().invoke(cli, ["list", "algos", "--json"]).output)
    parts = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert list(parts) == [each["name"] for each in told]
    for each in told:
        rows = cells(parts[each["name"]])
        assert list(rows) == [field["name"] for field in reversed(each["hyperparameters"])]
        for field in each["hyperparameters"]:
            assert rows[field["name"]][0] == f"`{formatting.shown(field['default'])}`"


def test_the_page_of_tasks_has_every_task() -> None:
    told = json.loads(CliRunner().invoke(cli, ["list", "tasks", "--json"]).output)
    assert set(cells(catalog.tasks())) == {each["name"] for each in told}


def test_a_page_that_asks_for_a_table_that_there_is_not_is_not_built() -> None:
    assert "total_steps" in catalog.fill("before\n\n<!-- catalog: protocols -->\n")
    with pytest.raises(KeyError):
        catalog.fill("<!-- catalog: nothing -->")


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(source), str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_can_be_read_offline(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    built = build(DOCS, tmp_path)
    assert built.returncode == 0, built.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert {path.stem for path in DOCS.rglob("*.md") if "_build" not in path.parts} <= {
        path.stem for path in pages
    }
    loaded = r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//"
    assert not [path.name for path, text in pages.items() if re.search(loaded, text)]
    commands = pages[tmp_path / "reference" / "command_line.html"]
    assert all(f'id="suite-{name}"' in commands for name in COMMANDS)
    contract = pages[tmp_path / "reference" / "contract.html"]
    assert all(f'id="algorithms.api.Algorithm.{name}"' in contract for name in ("act", "update"))
    assert "catalog: " not in "".join(pages.values())


BROKEN = """# Questions

[a page](nowhere.md), [a heading](faq.md#nothing-of-the-kind)

```{eval-rst}
.. automodule:: algorithms.nothing
```
"""


@pytest.mark.slow
def test_broken_links_and_references_fail_the_build(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copy(DOCS / "conf.py", source)
    (source / "faq.md").write_text(BROKEN, encoding="utf-8")
    (source / "index.md").write_text("# Site\n\n```{toctree}\nfaq\n```\n", encoding="utf-8")
    built = build(source, tmp_path / "out")
    assert built.returncode == 1
    for broken in ("nowhere.md", "nothing-of-the-kind", "algorithms.nothing"):
        assert broken in built.stderr
