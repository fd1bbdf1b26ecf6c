"""Reads and writes the folder of an evaluation on data sets.

<folder>/
    settings.json              model (of a server: what it serves), samples, limits, tools, estimator of entropies; a
                               resumed evaluation must have the same
    table.md                   all data sets of the folder
    <data set>/                `aepo view <folder>/<data set>` opens it
        answers.jsonl          one question a line, written as they are answered
        verdicts.jsonl         one verdict of a judge a line, of all judges that were asked
        results.jsonl          one question a line with its scores
        trees/                 the trajectories, with their scores as rewards: 1, 0, none if a verdict is unreadable;
                               step-000040.jsonl.gz holds the questions from the 40th on
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aepo.config import change
from aepo.evaluation.answers import Answered
from aepo.evaluation.figures import Figures
from aepo.evaluation.scoring import Scored
from aepo.files.lines import append_lines, read_lines
from aepo.files.whole import write_whole
from aepo.rewards.judge import Judgement
from aepo.runs.folder import RunFolder
from aepo.runs.trees import save_trees
from aepo.types import Group, Sample

FORMAT = 1
SETTINGS = "settings.json"


class EvaluationFolder:
    """The folder of one evaluation.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def begun(self) -> bool:
        """Whether the folder holds an evaluation on data sets."""
        return (self.path / SETTINGS).is_file()

    def begin(self, settings: dict[str, Any], resume: bool, names: Sequence[str]) -> None:
        """Begin an evaluation in the folder, add data sets to the one that it holds, or go on with it.

        Args:
            settings: Plain values with dotted keys. Those of an evaluation that is there must be the same.
            resume: Go on with data sets that are there.
            names: The data sets.

        Raises:
            ValueError: It holds one of the data sets and `resume` is false, or a setting differs; the message names it.
        """
        if self.begun:
            if not resume and (there := [name for name in names if (self.path / name).is_dir()]):
                raise ValueError(
                    f"{self.path} holds an evaluation on {', '.join(there)}: go on with --resume, or choose another "
                    "--out"
                )
            before = self.settings()
            if what := change(before, settings, before.keys() & settings.keys()):
                raise ValueError(f"cannot add to {self.path}: {what}; set it back, or choose another --out")
            settings = before | settings  # a data set may have been added
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, **settings}, indent=1, ensure_ascii=False) + "\n"
        write_whole(self.path / SETTINGS, text.encode())

    def settings(self) -> dict[str, Any]:
        """The settings that the evaluation began with.

        Raises:
            ValueError: There is no evaluation, or one of another version.
        """
        data = RunFolder(self.path).read_json(SETTINGS)
        if data is None:
            raise ValueError(f"no evaluation on data sets in {self.path}: it has no {SETTINGS}")
        if data.pop("format", None) != FORMAT:
            raise ValueError(f"{self.path / SETTINGS} is of another version; this one reads format {FORMAT}")
        return data

    def answers(self, name: str) -> list[Answered]:
        """The kept answers of a data set, without an incomplete last line; ValueError names a broken line."""
        return read_lines(self.path / name / "answers.jsonl", Answered.from_line)

    def verdicts(self, name: str) -> list[Judgement]:
        """The kept verdicts on a data set; like `answers`."""
        return read_lines(self.path / name / "verdicts.jsonl", Judgement.from_line)

    def open_questions(self, name: str, samples: Sequence[Sample]) -> list[Sample]:
        """The questions without answers; ValueError names an id that had another question before."""
        done = {one.id: one.question for one in self.answers(name)}
        for sample in samples:
            if done.get(sample.id, sample.question) != sample.question:
                raise ValueError(f"cannot resume {self.path}: question {sample.id!r} of {name} is another one now")
        return [sample for sample in samples if sample.id not in done]

    def keep_answers(
        self, name: str, decode: Callable[[list[int]], str], part: Sequence[Answered], groups: Sequence[Group]
    ) -> None:
        """Append answers, and save their trees under the number of questions that were answered before."""
        (self.path / name).mkdir(parents=True, exist_ok=True)
        save_trees(RunFolder(self.path / name), len(self.answers(name)), groups, decode)
        append_lines(self.path / name / "answers.jsonl", [one.to_line() for one in part])

    def keep_verdict(self, name: str, verdict: Judgement) -> None:
        """Append a verdict."""
        append_lines(self.path / name / "verdicts.jsonl", [verdict.to_line()])

    def save_results(self, name: str, scored: Sequence[Scored]) -> None:
        """Write the scores of a data set."""
        lines = "".join(one.to_line() + "\n" for one in scored)
        write_whole(self.path / name / "results.jsonl", lines.encode())

    def reward_trees(self, name: str, scored: Sequence[Scored]) -> None:
        """Write the scores of a data set into its trees, as rewards."""
        worth = {one.answered.id: one.correct for one in scored}
        for path in RunFolder(self.path / name).tree_files().values():
            lines = gzip.decompress(path.read_bytes()).splitlines()
            rewarded = b"".join(_rewarded(line, worth) + b"\n" for line in lines)
            # Without a time stamp, equal trees give equal files.
            write_whole(path, gzip.compress(rewarded, mtime=0))

    def results(self, name: str, title: str) -> Figures:
        """The saved scores of a data set, with the answers.

        Raises:
            ValueError: The data set was not scored yet, or the files do not fit together.
        """
        file = self.path / name / "results.jsonl"
        answered = {one.id: one for one in self.answers(name)}
        if not file.is_file():
            raise ValueError(f"{name} was not scored in {self.path}: run the evaluation with --resume")
        scored = read_lines(file, lambda line: Scored.from_line(line, answered))
        if not scored:
            raise ValueError(f"{file} holds no results")
        return Figures(name, title, scored)

    def save_table(self, text: str) -> None:
        """Write the table."""
        write_whole(self.path / "table.md", text.encode())


def _rewarded(line: bytes, worth: Mapping[str, Sequence[bool | None]]) -> bytes:
    data = json.loads(line)
    correct = worth.get(data["sample"]["id"])
    if correct is None:
        return line
    for leaf, one in zip(data["tree"]["leaves"], correct, strict=True):
        leaf["reward"] = None if one is None else float(one)
    return json.dumps(data).encode()
