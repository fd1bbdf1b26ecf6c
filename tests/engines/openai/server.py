"""A model server on loopback that speaks as vLLM, SGLang or llama.cpp do, with a real model behind it, and can fail."""

from __future__ import annotations

import json
import math
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

Fault = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class ModelServer:
    """What is served and what was asked.

    Attributes:
        kind: "vllm", "sglang", "llamacpp", or "text" for a server without token ids.
        model: A causal LM.
        tokenizer: Its tokenizer.
        name: Of the model.
        most: The most likely tokens that it tells of.
        raw: Log-probabilities are taken before the temperature.
        context: Tokens that a request may come to.
        ends: Tokens that it ends at, whatever it is told.
        faults: What happens to the next requests with a body instead of an answer; None answers.
        asked: Paths, bodies and headers of all requests.
        url: Where it listens.
    """

    kind: str
    model: Any
    tokenizer: Any
    name: str = "tiny"
    others: tuple[str, ...] = ()
    most: int | None = 20
    raw: bool = False
    context: int = 512
    ends: frozenset[int] = frozenset()
    faults: deque[Fault | None] = field(default_factory=deque)
    asked: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self) -> list[Any]:
        """The bodies of those for tokens."""
        return [body for path, body, _ in self.asked if path in ("/v1/completions", "/generate", "/completion")]

    def draw(self, prompt: list[int], count: int, temperature: float, seed: int, ends: set[int], stop: list[str]):
        """Tokens with their ln p and the likeliest of each place; the token that completes a stop string is kept."""
        chance = torch.Generator().manual_seed(seed)
        tokens: list[int] = []
        logprobs, tops = [], []
        while len(tokens) < count:
            with torch.no_grad():
                rows = self.model(torch.tensor([prompt + tokens])).logits
            logits = rows[0, -1, : len(self.tokenizer)].double()  # the tiny model has padding rows above
            at = 1.0 if self.raw or not temperature else temperature
            told = torch.log_softmax(logits / at, -1)
            if temperature:
                token = int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=chance))
            else:
                token = int(logits.argmax())
            tokens.append(token)
            logprobs.append(float(told[token]))
            best = told.topk(min(self.most or 0, len(told)))
            tops.append(dict(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
            if token in ends | self.ends or any(s in self.tokenizer.decode(tokens) for s in stop):
                break
        return tokens, logprobs, tops

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        if path == "/v1/models":
            owner = {"text": "somebody"}.get(self.kind, self.kind)
            entry = {"owned_by": owner} | ({} if self.kind == "llamacpp" else {"max_model_len": self.context})
            return 200, {"data": [{"id": name, **entry} for name in (self.name, *self.others)]}
        if path == "/props" and self.kind == "llamacpp":
            return 200, {"default_generation_settings": {"n_ctx": self.context}}
        if path == "/tokenize" and self.kind != "text":
            text = body["content"] if self.kind == "llamacpp" else body["prompt"]
            return 200, {"tokens": self.tokenizer.encode(text, add_special_tokens=False)}
        if path != {"sglang": "/generate", "llamacpp": "/completion"}.get(self.kind, "/v1/completions"):
            return 404, {"detail": "Not Found"}
        return getattr(self, f"_{self.kind}")(body)

    def _too_long(self, prompt: list[int], count: int) -> tuple[int, Any] | None:
        if len(prompt) + count <= self.context:
            return None
        message = f"This model's maximum context length is {self.context} tokens, you asked for {len(prompt) + count}."
        return 400, {"error": {"message": message, "code": 400}}

    def _vllm(self, body: Any) -> tuple[int, Any]:
        if body["model"] not in (self.name, *self.others):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        wanted = body.get("logprobs")
        if wanted is not None and (self.most is None or wanted > self.most):
            return 400, {"error": {"message": f"Requested sample logprobs of {wanted}, greater than max allowed"}}
        if refusal := self._too_long(body["prompt"], body["max_tokens"]):
            return refusal
        ends = set(body["stop_token_ids"])
        drawn = self.draw(body["prompt"], body["max_tokens"], body["temperature"], body["seed"], ends, body["stop"])
        tokens, logprobs = drawn[:2]
        choice: dict[str, Any] = {"text": self.tokenizer.decode(tokens), "token_ids": tokens, "logprobs": None}
        if wanted is not None:
            # The sampled token stands among the likeliest, whether it is one of them or not.
            told = [{t: lp, **dict(list(top.items())[:wanted])} for t, lp, top in zip(*drawn, strict=True)]
            listed = [{f"token_id:{i}": lp for i, lp in top.items()} for top in told]
            choice["logprobs"] = {"token_logprobs": logprobs, "top_logprobs": listed}
        return 200, {"choices": [choice]}

    def _text(self, body: Any) -> tuple[int, Any]:
        tokens, _, _ = self.draw(body["prompt"], body["max_tokens"], 1.0, 0, set(), [])
        return 200, {"choices": [{"text": self.tokenizer.decode(tokens), "logprobs": None}]}

    def _sglang(self, body: Any) -> tuple[int, Any]:
        settings, prompt = body["sampling_params"], body["input_ids"]
        if refusal := self._too_long(prompt, settings["max_new_tokens"]):
            return refusal
        ends, stop = set(settings["stop_token_ids"]), settings["stop"]
        tokens, logprobs, tops = self.draw(
            prompt, settings["max_new_tokens"], settings["temperature"], settings["sampling_seed"], ends, stop
        )
        about: dict[str, Any] = {"finish_reason": {"type": "stop"}}
        if body.get("return_logprob"):
            about["output_token_logprobs"] = [[lp, t, None] for lp, t in zip(logprobs, tokens, strict=True)]
            if count := body["top_logprobs_num"]:
                about["output_top_logprobs"] = [[[lp, t, None] for t, lp in list(top.items())[:count]] for top in tops]
        return 200, {"text": self.tokenizer.decode(tokens), "output_ids": tokens, "meta_info": about}

    def _llamacpp(self, body: Any) -> tuple[int, Any]:
        if refusal := self._too_long(body["prompt"], 1):
            return refusal
        drawn = self.draw(body["prompt"], body["n_predict"], body["temperature"], body["seed"], set(), body["stop"])
        reply: dict[str, Any] = {"tokens": drawn[0]}
        if body.get("n_probs"):
            after = body["post_sampling_probs"]
            name = "prob" if after else "logprob"

            def shown(lp: float) -> float:
                return math.exp(lp) if after else lp

            reply["completion_probabilities"] = [
                {
                    "id": token,
                    name: shown(lp),
                    f"top_{name}s": [{"id": i, name: shown(p)} for i, p in list(top.items())[: body["n_probs"]]],
                }
                for token, lp, top in zip(*drawn, strict=True)
            ]
        return 200, reply


class Server(ThreadingHTTPServer):
    """Says nothing of a client that has gone; any other error is printed."""

    def handle_error(self, *address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*address)


@contextmanager
def serving(server: ModelServer) -> Iterator[ModelServer]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["content-length"])) or "null"))

        def reply(self, body: Any) -> None:
            with server.lock:
                server.asked.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
                fault = server.faults.popleft() if server.faults and body is not None else None
            if fault is not None:
                fault(self)
                return
            with server.lock:
                status, data = server.answer(self.path, body)
            say(self, status, data)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = Server(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def say(handler: BaseHTTPRequestHandler, status: int, data: Any, **headers: str) -> None:
    """Send JSON, or bytes as they are."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def failing(status: int, data: Any = None, **headers: str) -> Fault:
    """Answer with this status."""
    return lambda handler: say(handler, status, data or {}, **headers)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection instead of answering."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
