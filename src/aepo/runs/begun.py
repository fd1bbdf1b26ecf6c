"""Beginning a run's folder, or going on with the one that is there."""

from __future__ import annotations

from aepo.config import Config, dump, parse
from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder
from aepo.runs.resumed import same_run, same_task
from aepo.runs.versions import environment
from aepo.tasks.base import Task
from aepo.tasks.identity import identity


def begun(config: Config, task: Task, named: bool) -> RunFolder:
    """The folder of a new run.

    Args:
        config: The run's.
        task: What it is trained on.
        named: Whether `config.task` finds this task, so that commands can go on with the run.

    Raises:
        RunFolderError: It holds another run, or cannot be written.
    """
    versions = {**environment(), "tools": {tool.name: dict(tool.details) for tool in task.tools}}
    kept = {"named": named, **identity(task)}
    return RunFolder.create(config.run, config.model_dump(mode="json"), versions=versions, task=kept)


def gone_on(config: Config, task: Task, named: bool) -> RunFolder:
    """The folder of a run that goes on, once its settings are known to be the same; arguments as of `begun`.

    Raises:
        RunFolderError: There is no run, another process is writing it, or it cannot be written.
        ConfigError: A setting, a question or a tool differs.
    """
    folder = RunFolder.resume(config.run)
    try:
        before = folder.config()
        same_run(parse(before), config)
        same_task(folder, {"named": named, **identity(task)})
        if before != config.model_dump(mode="json"):
            # Else the next resumption would not know of e.g. more steps.
            write_whole(folder.config_file, dump(config).encode())
    except BaseException:
        folder.close()
        raise
    return folder
