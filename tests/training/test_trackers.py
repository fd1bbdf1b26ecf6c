import builtins
import json
import math
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.metrics import read_metrics
from aepo.training.trackers import JsonlTracker, TensorBoardTracker, make_trackers


def test_numbers_keep_every_bit(tmp_path):
    numbers = {"a": 0.1 + 0.2, "b": 1e-300, "c": math.pi, "d": -0.0, "n": 3, "h": {"2": 5}}
    tracker = JsonlTracker(tmp_path / "run" / "metrics.jsonl")
    tracker.log(1, numbers)
    # Each line can be read at once, before the file is closed.
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == [{"step": 1, **numbers}]
    tracker.close()
    tracker.close()


def test_what_json_does_not_know_becomes_null_or_a_plain_number(tmp_path):
    tracker = JsonlTracker(tmp_path / "m.jsonl")
    tracker.log(1, {"a": math.nan, "b": -math.inf, "c": np.float32(0.5), "d": np.float32("nan")})
    tracker.close()
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 1, "a": None, "b": None, "c": 0.5, "d": None}]


@pytest.mark.parametrize("torn", [b'{"step": 3, "a": 0.', b'{"step": 3', b"\xff", b"{"])
def test_a_torn_last_line_is_passed_over_and_dropped_on_opening(tmp_path, torn):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    tracker = JsonlTracker(path)
    tracker.log(3, {"a": 1.0})
    tracker.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "a": 1.0}\n'


def test_a_broken_line_elsewhere_is_named(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"m\.jsonl, line 2"):
        read_metrics(path)
    with pytest.raises(ValueError, match=r"m\.jsonl, line 2"):
        JsonlTracker(path)
    assert read_metrics(tmp_path / "missing.jsonl") == []


def test_resuming_drops_the_steps_that_come_again(tmp_path):
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    for step in range(6):
        tracker.log(step, {"old": 0.1 * step})
    tracker.truncate_after(3)
    tracker.log(4, {"new": 1.0})
    tracker.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[3] == {"step": 3, "old": 0.1 * 3} and rows[4] == {"step": 4, "new": 1.0}

    (again,) = make_trackers([], RunFolder(tmp_path), resumed=1)
    again.close()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1]


FULL = """
import resource, signal, sys
from pathlib import Path
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.training.trackers import JsonlTracker
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tracker = JsonlTracker(Path(sys.argv[1]))
tracker.log(1, {"a": 1.0})
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    tracker.log(2, {"a": 2.0, "long": "x" * 100})
except RunFolderError as error:
    print(error)
"""


def test_a_line_that_does_not_fit_leaves_no_half(tmp_path):
    """A limit on file sizes refuses in the middle of a line, as a full disk does."""
    path = tmp_path / "m.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    assert ran.stdout.startswith(f"cannot write {path}: File too large; make room")
    assert path.read_text() == '{"step": 1, "a": 1.0}\n'


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write") as caught:
        JsonlTracker(tmp_path / "file" / "m.jsonl")
    assert "\n" not in str(caught.value)


def test_unknown_trackers_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="unknown tracker 'wandbb', known are jsonl, tensorboard, csv, wandb"):
        make_trackers(["jsonl", "wandbb"], RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_scalars_and_histograms(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for tracker in make_trackers(["tensorboard"], RunFolder(tmp_path)):
        for step in (1, 2, 3):
            tracker.log(step, {"reward/mean": 0.25 * step, "budget/m_histogram": {"2": 3, "5": 1}, "empty": {}})
        tracker.close()
    tracker = TensorBoardTracker(tmp_path / "tensorboard", resumed=2)
    tracker.log(3, {"reward/mean": 9.0})
    tracker.close()

    seen = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"histograms": 0})
    seen.Reload()
    assert [(event.step, event.value) for event in seen.Scalars("reward/mean")] == [(1, 0.25), (2, 0.5), (3, 9.0)]
    histogram = seen.Histograms("budget/m_histogram")[0].histogram_value
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (4, 11, 2, 5)
    bars = dict(zip(histogram.bucket_limit, histogram.bucket, strict=True))
    assert bars == {2.5: 3, 3.5: 0, 4.5: 0, 5.5: 1}
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3


def test_a_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"aepo-rl\[tensorboard\]"):
        make_trackers(["tensorboard"], RunFolder(tmp_path))


def test_the_file_is_what_any_json_reader_reads(tmp_path):
    tracker = JsonlTracker(tmp_path / "m.jsonl")
    tracker.log(1, {"name": "ü \u2028 \n"})
    tracker.close()
    lines = (tmp_path / "m.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines if line] == [{"step": 1, "name": "ü \u2028 \n"}]


def test_a_table_has_a_line_for_each_row(tmp_path):
    trackers = make_trackers(["csv"], RunFolder(tmp_path))
    for tracker in trackers:
        tracker.log(1, {"reward/mean": 0.5, "budget/m_histogram": {"2": 3}})
        tracker.log(2, {"reward/mean": 0.75, "eval/success": 0.1})
    for tracker in trackers:
        tracker.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,reward/mean,eval/success\n1,0.5,\n2,0.75,0.1\n"


def test_a_function_is_told_of_each_step(tmp_path):
    told = []
    for tracker in make_trackers([], RunFolder(tmp_path), on_step=lambda step, metrics: told.append((step, metrics))):
        tracker.log(1, {"reward/mean": 0.5})
    assert told == [(1, {"reward/mean": 0.5})]


class Service(types.ModuleType):
    """The part of trackio or wandb that `accelerate` uses; keeps what it is given."""

    def __init__(self, name):
        super().__init__(name)
        self.runs, self.sent, self.settings, self.ended = [], [], {}, 0
        self.config = types.SimpleNamespace(update=lambda values, allow_val_change: self.settings.update(values))

    def init(self, **given):
        self.runs.append(given)
        return types.SimpleNamespace(log=lambda values, step: self.sent.append((step, values)), finish=self._finish)

    def _finish(self):
        self.ended += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_gets_the_numbers_and_the_settings_and_a_resumed_run_goes_on_there(tmp_path, monkeypatch, name):
    pytest.importorskip("accelerate")
    service = Service(name)
    monkeypatch.setitem(sys.modules, name, service)
    for resumed in (None, 1):
        _, tracker = make_trackers([name], RunFolder(tmp_path), resumed, {"seed": 3, "a.b": [1, 2]})
        tracker.log(2, {"reward/mean": 0.5, "budget/m_histogram": {"2": 3}, "missing": None})
        tracker.close()
    assert service.sent == [(2, {"reward/mean": 0.5})] * 2 and service.ended == 2
    assert service.settings == {"seed": 3, "a.b": "[1, 2]"}
    first, again = service.runs
    assert first == again and first["project"] == "aepo" and first["resume"] == "allow"


def test_a_service_that_refuses_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    service = Service("wandb")

    def refuse(**settings: object) -> None:
        raise PermissionError("no key:\nlog in")

    service.init = refuse
    monkeypatch.setitem(sys.modules, "wandb", service)
    with pytest.raises(ValueError, match=r'^tracker "wandb" does not start: no key: log in; or leave it out of train'):
        make_trackers(["wandb"], RunFolder(tmp_path))


@pytest.mark.parametrize("missing", ["accelerate", "mlflow"])
def test_a_missing_package_of_a_service_is_named(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r'tracker "mlflow" needs the package .*: pip install "aepo-rl\[mlflow\]"'):
        make_trackers(["mlflow"], RunFolder(tmp_path))
