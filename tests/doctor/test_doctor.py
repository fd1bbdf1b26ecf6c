"""What the doctor sees: real probes, real services on loopback, real models; and that it shows no secret."""

from __future__ import annotations

import io
import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rich.console import Console

import aepo
from aepo.cli import main
from aepo.config import ModelConfig
from aepo.config import load as load_config
from aepo.doctor import host, plan, services
from aepo.doctor.finding import Finding, size
from aepo.doctor.model import look_at
from aepo.doctor.show import show
from aepo.engines.local.load import load_policy
from aepo.tools.sandbox import choose
from tests import tiny
from tests.engines.openai.server import ModelServer, serving
from tests.environments.test_check import Unseeded
from tests.environments.worlds import Maze
from tests.rollout.chat.published import source, tokenizer

Doctor = Callable[..., tuple[int, dict[str, object], str]]
Verdicts = Callable[[], list[choose.BackendVerdict]]
SECRET = "sk-not-to-be-shown"


@pytest.fixture(scope="module")
def probed() -> Verdicts:
    """Probes the sandboxes with the first call and keeps the verdicts, since a probe takes seconds."""
    return cache(choose.verdicts)


@pytest.fixture
def doctor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, probed: Verdicts
) -> Doctor:
    """`aepo doctor --json` in this process: exit code, findings, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choose, "verdicts", probed)

    def command(*arguments: str) -> tuple[int, dict[str, object], str]:
        capfd.readouterr()
        code = main(["doctor", *arguments, "--json"])
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else {}, err

    return command


@pytest.fixture
def config(tmp_path: Path, model_folder: Path) -> Path:
    """A configuration file for the tiny model and task."""
    file = tmp_path / "tiny.yaml"
    loaded = load_config(None, tiny.settings(tmp_path / "run", model_folder))
    from aepo import config as configuration

    file.write_text(configuration.dump(loaded))
    return file


@pytest.fixture
def service() -> Iterator[str]:
    """A service on loopback that refuses everybody: it is there all the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def of(report: dict[str, object], part: str, name: str = "") -> list[dict[str, str]]:
    found = report["findings"]
    assert isinstance(found, list)
    return [one for one in found if one["part"] == part and name in one["name"]]


def maze() -> aepo.Task:
    """A task with an environment."""
    return aepo.Task("maze", [aepo.Sample("Find the way.", id="q")], environment=aepo.environment(Maze))


def unseeded() -> aepo.Task:
    """One whose worlds differ."""
    return aepo.Task("maze", [aepo.Sample("Find the way.", id="q")], environment=aepo.environment(Unseeded))


def test_it_plays_in_the_worlds_of_a_task(doctor: Doctor, config: Path) -> None:
    _, report, _ = doctor(str(config), "task.name=tests.doctor.test_doctor:maze", "--no-measure")
    (found,) = of(report, "worlds", "Maze")
    assert found["text"] == "1 questions, 20 calls at random: equal in two worlds, and in branches by replay"
    code, report, _ = doctor(str(config), "task.name=tests.doctor.test_doctor:unseeded", "--no-measure")
    (found,) = of(report, "worlds", "Unseeded")
    assert code == 1 and found["text"].startswith("reset said ") and "random.Random(seed)" in found["fix"]


def test_without_a_configuration_it_looks_at_the_machine(doctor: Doctor) -> None:
    code, report, err = doctor()
    assert code == 0 and report["ok"] is True, err
    assert {one["part"] for one in report["findings"]} == {"versions", "machine", "sandbox", "keys"}  # type: ignore
    assert "torch 2" in of(report, "versions", "packages")[0]["text"]
    assert "GiB" in of(report, "machine", "memory")[0]["text"]


def test_each_sandbox_has_the_verdict_of_its_probe_and_one_is_chosen(doctor: Doctor) -> None:
    _, report, _ = doctor()
    boxes = of(report, "sandbox")
    assert {one["name"] for one in boxes} == {"sandlock", "bubblewrap"}
    for one in boxes:
        assert one["text"].startswith("contains the probe") or (one["text"].startswith("refused: ") and one["fix"])
    assert sum("chosen" in one["text"] for one in boxes) <= 1


def test_no_sandbox_is_missing_only_where_programs_are_to_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [choose.BackendVerdict("sandlock", ("network: not contained",), "allow Landlock", None)]
    monkeypatch.setattr(choose, "verdicts", lambda: refused)
    (needed,), (unneeded,) = host.sandboxes(needed=True), host.sandboxes(needed=False)
    assert (needed.state, unneeded.state) == ("missing", "note")
    assert needed.text == "refused: network: not contained" and needed.fix == "allow Landlock"


def test_keys_are_said_to_be_there_and_never_shown(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAVILY_API_KEY", SECRET)
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    _, report, err = doctor()
    assert of(report, "keys", "set")[0]["text"] == "TAVILY_API_KEY"
    assert "BRAVE_API_KEY" in of(report, "keys", "not set")[0]["text"]
    assert SECRET not in json.dumps(report) + err


def test_a_service_that_answers_is_there_whatever_it_answers(doctor: Doctor, service: str) -> None:
    code, report, _ = doctor("--url", service)
    assert code == 0 and of(report, "services")[0]["text"] == "answers (HTTP 403)"


def test_a_service_that_does_not_answer_is_missing_and_its_secrets_stay_hidden(service: str) -> None:
    port = service.rpartition(":")[2]
    secretive = f"http://user:{SECRET}@127.0.0.1:{port}/path?token={SECRET}"
    there, gone = services.addresses([secretive, "http://127.0.0.1:9/"])
    assert there.state == "ok" and there.name == f"http://127.0.0.1:{port}/path" and SECRET not in repr(there)
    assert gone.state == "missing" and "unreachable (ConnectError)" in gone.text and gone.fix


def test_addresses_are_found_wherever_a_configuration_has_them() -> None:
    named = services.named_in({"a": {"b": ["http://x", 3]}, "c": "https://y", "d": "no", "e": ("http://x",)})
    assert named == ["http://x", "https://y"]


def test_a_template_that_only_appends_is_told_from_one_that_does_not(model_folder: Path, tmp_path: Path) -> None:
    found = {one.name: one for one in look_at(ModelConfig(path=str(model_folder)))}
    assert found["protocol tags"].state == "ok" and found["entropy"].state == "ok"
    words = tiny.tokenizer()
    words.chat_template = "{{ messages | length }}" + words.chat_template
    words.save_pretrained(tmp_path / "moody")
    (tmp_path / "moody" / "config.json").write_text("{}")
    moody = {one.name: one for one in look_at(ModelConfig(path=str(tmp_path / "moody")), "chat")}
    assert moody["protocol chat"].state == "missing" and "chat template" in moody["protocol chat"].text


def test_the_arguments_of_a_template_and_the_one_used_instead_are_told(tmp_path: Path) -> None:
    tokenizer(source("qwen3")).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    settings = ModelConfig(path=str(tmp_path), pad_token="<|endoftext|>")

    def told(**template: object) -> Finding:
        return next(one for one in look_at(settings, template=template) if one.name == "protocol chat")

    assert told().state == "ok" and "only appends" in told().text and "<tool_call>" in told().text
    assert "template qwen3 of this package" in told(enable_thinking=False).text
    assert "it reads enable_thinking" in told(thinking=False).text


def test_a_model_that_is_not_there_is_missing(doctor: Doctor) -> None:
    code, report, _ = doctor("--model", "./nowhere")
    assert code == 1 and "does not exist" in of(report, "model")[0]["text"]


def test_a_served_model_is_looked_at_with_the_tokenizer_that_is_named(
    doctor: Doctor, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    local = load_policy(model_folder, device="cpu")
    with serving(ModelServer("vllm", local.model, local.tokenizer, name="./its own name")) as server:
        code, report, _ = doctor("--model", server.url)
        assert code == 1 and "model.tokenizer" in of(report, "model")[0]["text"] + of(report, "model")[0]["fix"]
        code, report, err = doctor("--model", server.url, f"model.tokenizer={model_folder}")
    assert code == 0, (report, err)
    assert "likeliest tokens" in of(report, "model", "entropy")[0]["text"]


def test_a_configuration_that_can_be_run_is_measured(doctor: Doctor, config: Path) -> None:
    code, report, err = doctor(str(config))
    assert code == 0, (report, err)
    assert of(report, "config", "task")[0]["text"] == "5 questions, 2 held out; tools: search"
    assert of(report, "step", "memory")[0]["state"] == "ok"
    (time,) = of(report, "step", "time")
    assert time["text"].startswith("at most") and "480 tokens written" in time["text"]
    code, report, err = doctor(str(config), "--trial", "2")
    (time,) = of(report, "step", "time")
    assert code == 0 and time["text"].startswith("about") and "a trial of 2 questions" in time["text"]


def test_nothing_is_loaded_where_nothing_is_to_be_measured(doctor: Doctor, config: Path) -> None:
    code, report, _ = doctor(str(config), "--no-measure")
    assert code == 0 and not of(report, "step", "time") and of(report, "step", "memory")


def test_what_a_configuration_lacks_is_named_with_the_way_out(
    doctor: Doctor, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepo.doctor.extras.find_spec", lambda name: None)
    code, report, _ = doctor(str(config), "train.trackers=[tensorboard]", "model.lora.rank=4", "--no-measure")
    assert code == 1 and report["ok"] is False
    assert {one["fix"] for one in of(report, "config")} >= {
        'pip install "aepo-rl[tensorboard]"',
        'pip install "aepo-rl[lora]"',
    }
    code, report, _ = doctor(str(config), "task.name=tests.tiny:nothing", "--no-measure")
    assert code == 1 and "cannot be imported" in of(report, "config", "task")[0]["text"]
    code, report, _ = doctor(str(config), "rollout.max_tokens=4000")
    assert code == 1 and "built for 512" in of(report, "step", "length")[0]["text"]
    code, report, _ = doctor(str(config), "instructions.enabled=true")
    assert code == 1 and "instructions.max_tokens" in of(report, "step", "length")[0]["fix"]


def test_a_step_that_does_not_fit_is_missing_and_the_largest_part_is_what_to_make_smaller(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepo.process.host.host_memory", lambda: (1 << 20, 1 << 30))
    settings = load_config(config, ["rollout.max_sequences=4096", "rollout.questions=600"])
    (found,) = plan.step(settings, None, measure=True, trial=0)
    assert found.state == "missing" and found.fix.startswith("rollout.max_sequences=1024")
    settings = load_config(config, ["train.micro_batch_tokens=1000000", "train.minibatches=1", "rollout.questions=600"])
    (found,) = plan.step(settings, None, measure=True, trial=0)
    # 600 questions of six trajectories, with prompts of 128 tokens and 40 of their own.
    assert found.fix.startswith("train.micro_batch_tokens=151200; model.gradient_checkpointing=true")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.yaml"], "cannot read nowhere.yaml"),
        (["train.steps=3"], "settings need a configuration that they change"),
        (["--model", "./nowhere", "train.steps=3"], "settings need a configuration that they change"),
        (["--trial", "-1"], "--trial is -1"),
    ],
)
def test_bad_input_is_one_line(doctor: Doctor, arguments: list[str], line: str) -> None:
    code, _, err = doctor(*arguments)
    assert code == 2 and line in err and len(err.splitlines()) == 1


def test_the_screen_fits_80_columns_and_tells_states_apart_without_colour() -> None:
    findings = [
        Finding("machine", "memory", "17 GiB free " * 12),
        Finding("machine", "load", "others compute here", "note", "look again"),
        Finding("services", "http://127.0.0.1:9999/a/very/long/path", "unreachable", "missing", "start it \x1b[2J"),
    ]
    out = io.StringIO()
    show(findings, Console(file=out, width=80, _environ={}))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in out.getvalue()
    assert lines[-1].rstrip() == "missing: services http://127.0.0.1:9999/a/very/long/path"
    signs = {"✓", "!", "✗"} if "✓" in out.getvalue() else {"+", "!", "x"}
    assert all(any(sign in line for line in lines) for sign in signs)
    shown = io.StringIO()
    show([replace(findings[0], text="all")], Console(file=shown, width=80, _environ={}))
    assert shown.getvalue().splitlines()[-1].rstrip() == "all that is needed is there"


def test_sizes_read_as_people_write_them() -> None:
    assert [size(n) for n in (5, 1536, 3 << 20, 5 << 29, 200 << 30)] == [
        "5 bytes",
        "1.5 KiB",
        "3.0 MiB",
        "2.5 GiB",
        "200 GiB",
    ]


def test_every_extra_that_a_user_may_want_is_listed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(host.EXTRAS) == set(project["optional-dependencies"]) - {"dev", "docs"}
