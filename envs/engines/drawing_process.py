"""The program that `pictures.py` starts: draws states as they come in, for as long as they come.

Reads a line of JSON with the sizes, the compiled model, and then rows of float32; answers `ready`
once it has drawn a picture, and each row with its pixels. What fails is said on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import mujoco
import numpy as np

FIRST_CAMERA, FREE_CAMERA = 0, -1


def main(taken: BinaryIO, given: BinaryIO) -> None:
    """Draws until nothing more comes in."""
    mujoco.set_mju_user_warning(lambda _: None)  # or it leaves a file where the user works
    facts = json.loads(taken.readline())
    content = taken.read(facts["model"])
    model = mujoco.MjModel.from_binary_path("model.mjb", {"model.mjb": content})
    size, row_bytes = facts["size"], 4 * facts["row"]
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, size)
    model.vis.global_.offheight = max(model.vis.global_.offheight, size)
    data = mujoco.MjData(model)
    renderer = mujoco.Renderer(model, height=size, width=size)
    draw(model, data, renderer)
    given.write(b"ready\n")
    given.flush()
    while len(row := taken.read(row_bytes)) == row_bytes:
        put(data, np.frombuffer(row, np.float32), facts["fields"])
        given.write(draw(model, data, renderer).tobytes())
        given.flush()


def put(data: mujoco.MjData, row: np.ndarray, fields: Mapping[str, tuple[int, int]]) -> None:
    """Sets the fields that lie in a row [K], each from a column to before another."""
    for name, (start, stop) in fields.items():
        field = getattr(data, name)
        if start < stop and name != "time":
            field[:] = row[start:stop].reshape(field.shape)


def draw(model: mujoco.MjModel, data: mujoco.MjData, renderer: Any) -> np.ndarray:
    """Returns the picture [size, size, 3] uint8 of a state."""
    mujoco.mj_forward(model, data)
    renderer.update_scene(data, camera=FIRST_CAMERA if model.ncam else FREE_CAMERA)
    picture: np.ndarray = renderer.render()
    return picture


if __name__ == "__main__":
    # Only pixels may go out on standard output; what a driver says goes where errors go.
    pixels = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, pixels)
    pixels.flush()
    os._exit(0)  # drivers fail at tidying up
