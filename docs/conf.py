"""The site of the pages in docs/: `python -m sphinx -W --keep-going docs docs/_build`."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "GoRL suite"
copyright = "the authors of the GoRL suite"
release = metadata.version("gorl-suite")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"GoRL suite {release}"
html_copy_source = False
html_show_sphinx = False

# Options keep their two hyphens.
smartquotes = False
myst_heading_anchors = 4
# `$` and the prompts of Python are not copied, and neither is what a command printed.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Docstrings have their code in single backticks.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False


def setup(app: Sphinx) -> None:
    """Has the tables of the catalog made while the pages are read."""
    from docs import catalog

    app.connect("source-read", catalog.fill_page)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", keep_bars)


def skip_member(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool:
    """Leaves out the fields of named tuples, which their classes describe."""
    del app, what, name, options
    return skip or (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")


def keep_bars(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keeps |x| in a docstring a number's size, which it would not be in reStructuredText."""
    del app, what, name, obj, options
    lines[:] = [line if "`" in line else line.replace("|", r"\|") for line in lines]
