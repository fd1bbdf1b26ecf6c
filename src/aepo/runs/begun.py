"""Makes the folder of a new run, or opens that of a run that goes on."""

from __future__ import annotations

from aepo.config import Config, dump, parse
from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder
from aepo.runs.resumed import same_run, same_task
from aepo.runs.versions import environment
from aepo.tasks.base import Task
from aepo.tasks.identity import identity


def begun(config: Config, task: Task, named: bool) -> RunFolder:
    """Make the folder of a new run.

    Args:
        config: The run's configuration.
        task: The run's task.
        named: Whether `config.task` finds this task; then commands can go on with the run.

    Raises:
        RunFolderError: The folder holds another run, or cannot be written.
    """
    versions = {**environment(), "tools": {tool.name: dict(tool.details) for tool in task.tools}}
    kept = {"named": named, **identity(task)}
    return RunFolder.create(config.run, config.model_dump(mode="json"), versions=versions, task=kept)


def gone_on(config: Config, task: Task, named: bool) -> RunFolder:
    """Check that the settings are those of the run, and open its folder to go on; arguments as in `begun`.

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
            # The next resumption needs the changed settings, e.g. more steps.
            write_whole(folder.config_file, dump(config).encode())
    except BaseException:
        folder.close()
        raise
    return folder
