"""A model: whether its chat template only appends, and what a server tells of its log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aepo.config import ModelConfig
from aepo.doctor.finding import Finding
from aepo.rollout.generator import GeneratorSettings, Stop
from aepo.tools.base import Tool, tool

ESTIMATORS = {
    "full": Finding("model", "entropy", "exact, from the whole distribution"),
    "topk": Finding("model", "entropy", "a lower bound, from the likeliest tokens that the server tells of"),
    "sampled": Finding(
        "model",
        "entropy",
        "from the sampled token's log-probability alone: unbiased, but noisy",
        "note",
        "let the server tell of more tokens (vLLM: --max-logprobs 20)",
    ),
    "none": Finding(
        "model",
        "entropy",
        "the server gives no log-probabilities: nothing can branch by entropy",
        "missing",
        "use a server that gives them, or algorithm.name=grpo",
    ),
}


def look_at(
    settings: ModelConfig,
    protocol: str | None = None,
    engine: str | None = None,
    template: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """The chat template under both protocols, and the attention; of a server its log-probabilities.

    Args:
        settings: Which model.
        protocol: The one that is needed; the other may fail. None needs either of them.
        engine: The one that is needed.
        template: As of `rollout.template`.
    """
    try:
        tokenizer, ends, served = _tokenizer(settings)
    except (ValueError, OSError, RuntimeError) as error:
        return [Finding("model", settings.path, _line(error), "missing")]
    verdicts = {name: _template(tokenizer, ends, name, template) for name in ("tags", "chat")}
    usable = [name for name, (works, _) in verdicts.items() if works]
    found = [Finding("model", settings.path, f"tokenizer of {len(tokenizer):,} tokens")]  # type: ignore[arg-type]
    for name, (works, text) in verdicts.items():
        missing = not works and (name == protocol or not usable)
        found.append(Finding("model", f"protocol {name}", text, "missing" if missing else "ok" if works else "note"))
    return [*found, *served, *_attention(settings, engine == "local")]


def _tokenizer(settings: ModelConfig) -> tuple[object, Stop, list[Finding]]:
    from aepo.assembly.policies import load_policy
    from aepo.equipment.models import is_server, policy_folder

    if is_server(settings.path):
        policy = load_policy(settings.path, settings)
        engine = policy.sampler.generator(GeneratorSettings(temperature=1.0, max_sequences=1, max_length=64))
        return policy.tokenizer, policy.ends, [ESTIMATORS[engine.entropy_estimator]]
    from aepo.engines.local.load import load_tokenizer
    from aepo.engines.stopping import ends_of

    path = policy_folder(settings.path)
    return load_tokenizer(path, settings.pad_token), ends_of(path), [ESTIMATORS["full"]]


def _attention(settings: ModelConfig, needed: bool) -> list[Finding]:
    """Whether the local engine runs the model; a server may run what it does not."""
    from aepo.equipment.models import is_server, policy_folder

    if is_server(settings.path):
        return []
    from aepo.engines.local.load import load_config
    from aepo.engines.local.supported import refuse_unsupported

    try:
        refuse_unsupported(load_config(policy_folder(settings.path)))
    except ValueError as error:
        return [Finding("model", "engine local", _line(error), "missing" if needed else "note")]
    return [Finding("model", "engine local", "reading token by token gives what one pass gives")]


def _template(tokenizer: object, ends: Stop, protocol: str, template: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Whether a protocol can be used with it, and what there is to say."""
    from aepo.rollout.chat import NativeProtocol, make_protocol

    try:
        made = make_protocol(protocol, tokenizer, [_lookup()], ends=ends, template=template)  # type: ignore[arg-type]
        made.prompt("Who wrote Emma?")
    except ValueError as error:
        return False, _line(error)
    if not isinstance(made, NativeProtocol):
        return True, "prompts render"
    calls = f"calls are {made.conventions.form.name}"
    if made.conventions.shipped is None:
        return True, f"the template only appends: what was sampled stays as it is; {calls}"
    return True, f"template {made.conventions.shipped} of this package, since the model's own changes turns; {calls}"


def _lookup() -> Tool:
    @tool
    def lookup(word: str) -> str:
        """Look a word up.

        Args:
            word: The word.
        """
        return word

    return lookup


def _line(error: Exception) -> str:
    return " ".join((str(error).strip() or type(error).__name__).split())
