"""Joins the page's modules to one script for the single file.

Modules import by `import { a, b } from "./other.js";` and export by `export function`, `export const`, `export class`.
Each becomes a function that returns its exports; the functions are called in the order of the imports.
"""

from __future__ import annotations

import re
from importlib.resources import files

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (async function|function|const|class) (\w+)", re.MULTILINE)


def bundle() -> str:
    """The script that runs module `main`.

    Raises:
        ValueError: A module is written in another way, or two import each other.
    """
    done: dict[str, str] = {}
    _add("main", done, ())
    return '"use strict";\nconst modules = {};\n' + "".join(done.values())


def _add(name: str, done: dict[str, str], importing: tuple[str, ...]) -> None:
    if name in importing:
        raise ValueError(f"modules import each other: {' '.join((*importing, name))}")
    if name in done:
        return
    text = (files("aepo.viewer") / "static" / f"{name}.js").read_text(encoding="utf-8")
    for _, other in _IMPORT.findall(text):
        _add(other, done, (*importing, name))
    names = [exported for _, exported in _EXPORT.findall(text)]
    body = _EXPORT.sub(r"\1 \2", _IMPORT.sub(_required, text))
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name}.js imports or exports in a way that bundle.py does not read")
    done[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {", ".join(names)} }};\n}})();\n'


def _required(found: re.Match[str]) -> str:
    return f'const {{{found[1].replace(" as ", ": ")}}} = modules["{found[2]}"];\n'
