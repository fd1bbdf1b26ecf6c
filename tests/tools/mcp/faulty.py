"""A hand-written MCP server over stdio whose tools go wrong, each in its own way. Needs only the standard library.

Arguments: a folder for what it leaves behind (one file a life), then what is wrong with the whole server:
"dies", "dies again" (from its second life on), "stays" (heeds neither the end of its input nor SIGTERM),
"changes" (another schema in its second life), "odd tools" (beside its good ones),
"child" (starts a process that does the same as "stays").
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

FOLDER, WRONG = Path(sys.argv[1]), sys.argv[2:]
LIFE = len(list(FOLDER.glob("life-*"))) + 1
(FOLDER / f"life-{LIFE}").write_text(str(os.getpid()))

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
NOTHING = {"type": "object"}
TOOLS = {"echo": TEXT, "die": NOTHING, "be_silent": NOTHING, "flood": NOTHING, "babble": NOTHING, "mistake": NOTHING}
TOOLS |= {"refuse": NOTHING, "fail": NOTHING, "variables": NOTHING, "picture": NOTHING, "figures": NOTHING}
TOOLS |= {"read_then_die": NOTHING, "change": NOTHING, "odd": NOTHING}
TOOLS |= {"ask": NOTHING, "spread": NOTHING, "half": NOTHING, "broken": NOTHING}
TOOLS |= {"any": {"type": "object", "properties": {"thing": True}}}
ODD = [
    {"name": "no_schema"},
    {"name": "any_of", "inputSchema": {"anyOf": [{"type": "object"}]}},
    {"name": "true", "inputSchema": True},
    {"name": "bad_type", "inputSchema": {"type": "object", "properties": {"a": {"type": "text"}}}},
    {"name": "twice", "inputSchema": NOTHING},
    {"name": "twice", "inputSchema": TEXT},
    {"name": "a name", "inputSchema": NOTHING},
    {"name": "x" * 300, "inputSchema": NOTHING},
    {"inputSchema": NOTHING},
    "words",
    None,
    {"name": "hints", "inputSchema": NOTHING, "annotations": {"readOnlyHint": "yes"}, "outputSchema": {"$id": "r"}},
    {"name": "halved", "description": "half \ud83c", "inputSchema": NOTHING, "title": 3, "annotations": None},
]
writing, asked = threading.Lock(), [0]


def write(text: str) -> None:
    with writing:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def answer(number: int, **content: object) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": number, **content}))


def say(number: int, text: str, **more: object) -> None:
    answer(number, result={"content": [{"type": "text", "text": text}], **more})


def die() -> None:
    print("one line\nthe last line", file=sys.stderr, flush=True)
    os._exit(3)


def offered() -> list[dict[str, object]]:
    tools = {n: {"name": n, "description": f"Does {n}.", "inputSchema": s} for n, s in TOOLS.items()}
    tools["read_then_die"]["annotations"] = {"readOnlyHint": True}
    if "changes" in WRONG and LIFE > 1:
        tools["echo"]["inputSchema"] = NOTHING
    return [*tools.values(), *(ODD if "odd tools" in WRONG else [])]


def call(number: int, name: str, arguments: dict[str, str]) -> None:
    picture = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    if name == "echo":
        say(number, arguments["text"])
    elif name == "die" or (name == "read_then_die" and LIFE == 1):
        die()
    elif name == "read_then_die":
        say(number, f"read in life {LIFE}")
    elif name == "flood":
        say(number, "x" * 50_000_000)
    elif name == "babble":
        for line in ("starting up...", "", "{", "[]", '{"jsonrpc": "2.0", "id": "no", "result": {}}', "\x00\xff"):
            write(line)
        say(number, "done babbling")
    elif name == "mistake":
        say(number + 1000, "for somebody else")
    elif name == "refuse":
        answer(number, error={"code": -32602, "message": "not with these arguments"})
    elif name == "fail":
        say(number, "it went wrong", isError=True)
    elif name == "variables":
        say(number, json.dumps(dict(os.environ)))
    elif name == "picture":
        text = {"type": "text", "text": "a cat"}
        linked = {"type": "resource_link", "name": "notes", "uri": "file:///notes"}
        held = {"type": "resource", "resource": {"uri": "file:///a", "text": "held"}}
        answer(number, result={"content": [text, picture, linked, held]})
    elif name == "figures":
        answer(number, result={"content": [picture], "structuredContent": {"é": 1}})
    elif name == "ask":
        write('{"jsonrpc": "2.0", "id": "mine", "method": "sampling/createMessage", "params": {}}')
        asked[0] = number
    elif name == "spread":
        result = {"content": [{"type": "text", "text": "over lines"}]}
        write(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}, indent=2))
    elif name == "half":
        say(number, "cut \ud83c")
    elif name == "broken":
        write(f'{{"jsonrpc": "2.0", "id": {number}, "result": {{"content": [')
    elif name == "odd":
        answer(number, result="none of the kind")
    elif name == "change":
        TOOLS.pop("echo")
        write(json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        say(number, "changed")


def main() -> None:
    if "dies" in WRONG or ("dies again" in WRONG and LIFE > 1):
        die()
    if "stays" in WRONG:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in WRONG:
        ignoring = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
        child = subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE)
        child.stdout.readline()
        (FOLDER / "child").write_text(str(child.pid))
    for line in sys.stdin:
        request = json.loads(line)
        number, method = request.get("id"), request.get("method")
        if method is None:
            say(asked[0], json.dumps(request["error"]))
            continue
        if method == "initialize":
            version = request["params"]["protocolVersion"]
            server = {"name": "faulty", "version": "1"}
            answer(number, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server})
        elif method == "tools/list":
            answer(number, result={"tools": offered()})
        elif method == "tools/call":
            call(number, request["params"]["name"], request["params"].get("arguments", {}))
        elif number is not None:
            answer(number, error={"code": -32601, "message": "no such method"})
    while "stays" in WRONG:
        signal.pause()


main()
