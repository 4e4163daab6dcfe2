"""Tasks of users' own: taken from the command line, kept with runs, and found there again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from envs.api import EnvError
from envs.engines.choice import source_digest
from envs.own_tasks import OwnTask, own_tasks, register
from envs.tasks import resolve_tasks
from suite.common.errors import UserError
from suite.common.files import check_inside, exclusive_write, make_directory
from suite.common.reading import MAX_SOURCE_BYTES, read_bounded
from suite.common.user_file import is_user_file, load_class, parse_user_file
from suite.storage.records import Cell
from suite.storage.run_directory import RunDirectory

_DIGITS = 12
"""Of a file's digest in the name of its copy."""


def select_tasks(text: str) -> tuple[str, ...]:
    """Expands a list of tasks, sets of tasks and files, `dmc6,./my_env.py:MyEnv`.

    A file's class becomes a task by its own name, known in this process from here on.

    Returns:
        Task names in the order given, each once.

    Raises:
        UserError: a file cannot be imported, or has no class that could be a task.
        EnvError: a name is unknown, or one that another task has.
    """
    items = [item.strip() for item in text.split(",")]
    return resolve_tasks(
        ",".join(register_file(item) if is_user_file(item) else item for item in items)
    )


def register_file(spec: str) -> str:
    """Makes the class of a user's file a task, and returns its name.

    Args:
        spec: `PATH.py`, or `PATH.py:CLASS`.

    Raises:
        UserError: the file cannot be imported, or has no class that could be a task.
        EnvError: the class is no environment, or its name is one that another task has.
    """
    from envs.engines.environments import BASE, check_class

    file = parse_user_file(spec)
    cls = load_class(file, BASE, "task")
    digest = hashlib.sha256(_content(file.path)).hexdigest()
    name = cls.__name__
    register(
        OwnTask(name, f"{file.path}:{name}", functools.partial(_loaded, cls), digest, file.path)
    )
    check_class(name, cls)
    return name


def _loaded(cls: type) -> type:
    return cls


def task_facts(name: str) -> dict[str, object] | None:
    """Returns plain data for run.json, part of each start's provenance; None for Playground's own.

    Returns:
        `name`; `source`, the file with its class, or the installed package; `digest`, SHA-256 of
        the file with the class; and `copy`, where in the run directory it is kept, None for a
        package's.
    """
    task = own_tasks().get(name)
    if task is None:
        return None
    digest = source_digest(name)
    source = task.source if task.file is None else f"{task.file.name}:{name}"
    copy = None if task.file is None else str(_copy(name, task.file, str(digest)))
    return {"name": name, "source": source, "digest": digest, "copy": copy}


def keep_task(run: RunDirectory, name: str) -> None:
    """Puts a copy of a user's file into the run directory, where its task's runs are.

    Raises:
        UserError: the file was changed since it was imported.
        OSError: the copy cannot be written.
    """
    task = own_tasks().get(name)
    if task is None or task.file is None or task.digest is None:
        return
    path = run.path / _copy(name, task.file, task.digest)
    if path.exists():
        return
    content = _content(task.file)
    if hashlib.sha256(content).hexdigest() != task.digest:
        raise UserError(
            f"{task.file} was changed while it was in use; run the same command again, which takes "
            "the file as it is now"
        )
    make_directory(path.parent)
    exclusive_write(path, content)


def restore_task(run: RunDirectory, cell: Cell, trusted: bool = False) -> None:
    """Makes the task of a stored cell known, if it is a user's own.

    Args:
        run: where the cell is.
        cell: whose task.
        trusted: whether the copy that the run keeps may be executed.

    Raises:
        UserError: the task is neither Playground's nor registered, and its copy is not trusted,
            missing or not the one that the run recorded; or another task is registered in its name.
    """
    facts = _stored_facts(run, cell)
    known = cell.task in own_tasks()
    if facts is None or (known and source_digest(cell.task) == facts.get("digest")):
        return
    where = f"{run.path}/{cell} was trained on the task {cell.task} of {facts.get('source')}"
    if known:
        raise UserError(f"{where}, but {own_tasks()[cell.task].source} is another version of it")
    if not isinstance(facts.get("copy"), str):
        raise UserError(f"{where}, which is not installed here")
    path = run.path / str(facts["copy"])
    if not trusted:
        raise UserError(
            f"{where}, of which {path} is a copy; read it, and add --trust if it may be executed"
        )
    _register_copy(run, cell.task, path, str(facts.get("digest")))


def _register_copy(run: RunDirectory, name: str, path: Path, digest: str) -> None:
    check_inside(path, run.path)
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it, or put the task's file in its place")
    if hashlib.sha256(_content(path, links=False)).hexdigest() != digest:
        raise UserError(f"{path} is not the file that its run recorded; restore it")
    register_file(f"{path}:{name}")


def _content(path: Path, links: bool = True) -> bytes:
    """Returns what a file holds that a user names, or a run that may be a stranger's."""
    try:
        return read_bounded(path, MAX_SOURCE_BYTES, links)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _copy(name: str, file: Path, digest: str) -> Path:
    """Returns where a user's file is kept, from the run directory."""
    return Path(name) / f"{file.stem}-{digest[:_DIGITS]}.py"


def _stored_facts(run: RunDirectory, cell: Cell) -> Mapping[str, object] | None:
    record = run.files(cell).read_run()
    starts = record.provenance if record else ()
    found = [facts for start in starts if isinstance(facts := start.get("task"), Mapping)]
    return found[-1] if found else None


def check_discounts(tasks: Mapping[str, float]) -> None:
    """Raises UserError if a protocol names a task that there is not; who reads it may lack it."""
    for task in tasks:
        try:
            resolve_tasks(task)
        except EnvError as error:
            raise UserError(f"task_discount.{task}: {error}") from None
