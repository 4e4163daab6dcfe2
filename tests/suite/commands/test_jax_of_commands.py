"""How commands set JAX up: where compiled programs are kept, and how products are rounded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import pytest
from commanding import python

from suite.common import jax_settings
from suite.common.errors import UserError


def settings_of_jax(*arguments: str, **environment: str) -> list[Any]:
    program = (
        "import json, sys; from suite.common import jax_settings\n"
        "jax_settings.prepare('--no-cache' not in sys.argv)\n"
        "import jax; c = jax.config\n"
        "print(json.dumps([c.jax_enable_compilation_cache, c.jax_compilation_cache_dir,\n"
        "                  c.jax_persistent_cache_min_compile_time_secs,\n"
        "                  c.jax_default_matmul_precision, c.jax_enable_x64,\n"
        "                  c.jax_default_prng_impl]))\n"
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    result = python("-c", program, *arguments, env={**inherited, **environment})
    assert result.returncode == 0, result.stderr
    found: list[Any] = json.loads(result.stdout)
    return found


def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    expected = str(tmp_path / "gorl-suite" / "jax")
    assert settings_of_jax(XDG_CACHE_HOME=str(tmp_path))[:3] == [True, expected, 0.0]
    assert settings_of_jax(JAX_COMPILATION_CACHE_DIR="/elsewhere")[1] == "/elsewhere"
    other = {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    without_cache = settings_of_jax("--no-cache", **other)
    assert without_cache[0] is False
    # The programs are written for these; with other random numbers a seed means another run.
    assert without_cache[4:] == [False, "threefry2x32"]


def test_no_home_means_no_compiled_programs_and_no_opengl_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    monkeypatch.setattr(os, "environ", {"MUJOCO_GL": "osmesa"})
    jax_settings.prepare()
    assert os.environ["MUJOCO_GL"] == "disable"
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_settings_that_a_program_made_itself_are_refused() -> None:
    with jax.enable_x64(True), pytest.raises(UserError, match=r"jax_enable_x64 is True"):
        jax_settings.prepare()


@pytest.mark.parametrize("cache", [(), ("--no-cache",)])
def test_products_are_whole_float32_unless_told_otherwise(cache: tuple[str, ...]) -> None:
    assert settings_of_jax(*cache)[3] == "highest"
    assert (
        settings_of_jax(*cache, JAX_DEFAULT_MATMUL_PRECISION="tensorfloat32")[3] == "tensorfloat32"
    )
