"""Ask a model that vLLM serves, and run its tools, without aepo-rl: `python 05_use_a_served_model.py QUESTION`."""

import json
import sys
from urllib.request import Request, urlopen


def lookup(word: str) -> str:
    """The tool that the model was trained with."""
    return {"probe": "a first try"}.get(word, "not found")


TOOLS = {"lookup": lookup}
WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
SCHEMAS = [{"type": "function", "function": {"name": "lookup", "description": "Look a word up.", "parameters": WORD}}]


def answer(question: str, url: str = "http://127.0.0.1:8000/v1", model: str = "mine", turns: int = 8) -> str | None:
    """Let the model call tools until it answers; None if it needs more turns."""
    messages = [{"role": "user", "content": question}]
    for _ in range(turns):
        body = json.dumps({"model": model, "messages": messages, "tools": SCHEMAS, "temperature": 0}).encode()
        with urlopen(Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})) as reply:
            said = json.load(reply)["choices"][0]["message"]
        if not said.get("tool_calls"):
            return said["content"]
        messages.append(said)
        for call in said["tool_calls"]:
            try:
                result = TOOLS[call["function"]["name"]](**json.loads(call["function"]["arguments"]))
            except (KeyError, TypeError, ValueError) as error:
                result = f"error: {error!r}"
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return None


if __name__ == "__main__":
    print(answer(" ".join(sys.argv[1:])))
