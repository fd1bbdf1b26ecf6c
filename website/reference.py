"""Generates the reference from the docstrings: the public names, `core`, algorithms, environments and rewards."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import griffe

from website import command_line, metrics, settings
from website.markdown import code, item, prose
from website.pages import ROOT, line, place, relative, write

# Modules with a page each beside those of `aepo.core`.
MODULES = ("aepo.algorithms", "aepo.environments", "aepo.rewards")


def write_all(target: Path, root: Path = ROOT) -> set[str]:
    """Write all pages of the reference into `target/reference`.

    Returns:
        Files of the repository that they link to.
    """
    package = load(root / "src")
    written = {
        "aepo": module(package, [name for name in public(package) if is_of_ours(package[name])]),
        "config": settings.page(),
        "command_line": command_line.page(package),
        "metrics": metrics.page(),
    }
    core = cast(griffe.Module, package["core"])
    parts = [package[name.removeprefix("aepo.")] for name in MODULES]
    parts += [part for name, part in core.modules.items() if not name.startswith("_")]
    for part in parts:
        name = part.path.removeprefix("aepo.").replace(".", "/")
        written[name] = module(part, public(part))
    linked: set[str] = set()
    for name, (text, files) in written.items():
        page = f"reference/{name}.md"
        linked |= files
        for file in files:
            text = text.replace(f"(repository:{file}#", f"({relative(place(file), page)}#")
        write(target / page, text)
    return linked


def load(sources: Path) -> griffe.Module:
    """The package as its sources have it; nothing is imported."""
    return cast(griffe.Module, griffe.load("aepo", search_paths=[sources], docstring_parser="google"))


def public(part: Any) -> list[str]:
    """The names of a module that are for others: `__all__`, or what is defined in it without an underscore."""
    if part.exports:
        return sorted(map(str, part.exports), key=lambda name: (name.lower(), name))
    return [
        name
        for name, member in part.members.items()
        if not name.startswith("_") and not member.is_alias and (member.is_attribute or member.docstring)
    ]


def is_of_ours(member: Any) -> bool:
    """Whether a public name of `aepo` is explained on the page `aepo`; the modules above have their own."""
    return not member.canonical_path.startswith(MODULES)


def module(part: Any, names: Sequence[str]) -> tuple[str, set[str]]:
    """The page of a module.

    Args:
        part: The module.
        names: What is explained on it.

    Returns:
        The page, whose links to the repository begin with `repository:`, and the files that they lead to.
    """
    files: set[str] = set()
    lines = [f"# `{part.path}`", "", *sections(part), ""]
    found = [(name, resolved(part, name)) for name in names]
    for wanted, heading in ((griffe.Kind.FUNCTION, "Functions"), (griffe.Kind.CLASS, "Classes"), (None, "Values")):
        rest = (griffe.Kind.ATTRIBUTE, griffe.Kind.TYPE_ALIAS)
        chosen = [(name, o) for name, o in found if (o.kind in rest if wanted is None else o.kind == wanted)]
        if chosen:
            lines += [f"## {heading}", ""]
        for name, member in chosen:
            lines += [*entry(member, name, f"{part.path}.{name}", 3, files), ""]
    return "\n".join(lines).rstrip() + "\n", files


def resolved(part: Any, name: str) -> Any:
    """What a name of a module stands for; of a function in a module of its own name, the function."""
    member = part[name].final_target if part[name].is_alias else part[name]
    return member[name] if member.is_module and name in member.members else member


def entry(member: Any, name: str, anchor: str, level: int, files: set[str]) -> Iterator[str]:
    """One name: heading, signature, docstring, a link to the source, and the public members of a class.

    Args:
        member: What griffe knows of it.
        name: As it is shown.
        anchor: As links call it.
        level: Of the heading.
        files: Gets the file that it is defined in.
    """
    file = _file(member)
    files.add(file)
    yield f"{'#' * level} `{name}` {{ #{anchor} }}"
    yield ""
    yield from code(_signature(member, name))
    yield ""
    yield from sections(member)
    yield ""
    yield f"[source](repository:{file}#{line(member.lineno)})"
    if member.is_class:
        for inner in _methods(member):
            yield ""
            yield from entry(inner, f"{name}.{inner.name}", f"{anchor}.{inner.name}", level + 1, files)


def sections(member: Any) -> Iterator[str]:
    """The docstring as Markdown; fields of a class with their types and defaults."""
    for section in member.docstring.parsed if member.docstring else ():
        kind = section.kind.value
        if kind == "text":
            yield from prose(section.value).splitlines()
        elif kind in ("parameters", "attributes"):
            yield f"**{'Arguments' if kind == 'parameters' else 'Fields'}**"
            yield ""
            for one in section.value:
                yield item(f"`{one.name}`", one.description, _value(member, one))
        elif kind in ("returns", "yields"):
            yield f"**{kind.capitalize()}**"
            yield ""
            for one in section.value:
                yield item("", one.description, None)
        elif kind == "raises":
            yield "**Raises**"
            yield ""
            for one in section.value:
                yield item(f"`{one.annotation}`", one.description, None)
        elif kind == "examples":
            yield "**Example**"
            yield ""
            for how, text in section.value:
                yield from code(text) if how.value == "examples" else prose(text).splitlines()
        else:
            yield prose(section.title or "")
            yield ""
            yield from prose(getattr(section.value, "description", str(section.value))).splitlines()
        yield ""
    yield from _described(member)


def _described(member: Any) -> Iterator[str]:
    """The fields, inherited ones too, whose meaning stands in the field itself: `Field(description=...)`."""
    fields = [(one.name, _keywords(one)) for one in member.attributes.values()] if member.is_class else []
    told = [(name, given) for name, given in fields if "description" in given]
    if told:
        yield "**Fields**"
        yield ""
    for name, given in told:
        value = f"`{member.attributes[name].annotation} = {given['default']}`"
        yield item(f"`{name}`", ast.literal_eval(given["description"]), value)


def _keywords(attribute: Any) -> dict[str, str]:
    """The arguments of the call that gives an attribute its value."""
    if not isinstance(attribute.value, griffe.ExprCall):
        return {}
    return {one.name: str(one.value) for one in attribute.value.arguments if isinstance(one, griffe.ExprKeyword)}


def _value(member: Any, one: Any) -> str | None:
    """Type and default of a field, from the class or the one that it inherits from."""
    if not member.is_class:
        return None
    field = member.all_members.get(one.name)
    if field is None or not getattr(field, "annotation", None):
        return None
    value = f" = {field.value}" if field.value is not None and not str(field.value).startswith("Field(") else ""
    return f"`{field.annotation}{value}`"


def _signature(member: Any, name: str) -> str:
    if member.is_attribute or member.kind == griffe.Kind.TYPE_ALIAS:
        return f"{name} = {member.value}"
    if member.is_class:
        bases = ", ".join(str(base) for base in member.bases)
        return f"class {name}({bases})" if bases else f"class {name}"
    start = "async def " if "async" in member.labels else "def "
    given = _parameters(member)
    end = f" -> {member.returns}" if member.returns is not None else ""
    short = name.rpartition(".")[2]
    flat = f"{start}{short}({', '.join(given)}){end}"
    return flat if len(flat) <= 80 else f"{start}{short}(\n    " + ",\n    ".join(given) + f",\n){end}"


def _parameters(member: Any) -> list[str]:
    given: list[str] = []
    for one in member.parameters:
        kind = one.kind.value if one.kind else ""
        if kind == "keyword-only" and not any(before.startswith("*") for before in given):
            given.append("*")
        if one.name not in ("self", "cls"):
            given.append(_parameter(one))
    return given


def _parameter(one: Any) -> str:
    stars = {"variadic positional": "*", "variadic keyword": "**"}.get(one.kind.value if one.kind else "", "")
    text = f"{stars}{one.name}" + (f": {one.annotation}" if one.annotation is not None else "")
    return text if stars or one.default is None else f"{text} = {one.default}"


def _methods(member: Any) -> list[Any]:
    found = [one for name, one in member.members.items() if not name.startswith("_") and not one.is_alias]
    return [one for one in found if one.is_function and one.docstring]


def _file(member: Any) -> str:
    return Path(member.filepath).resolve().relative_to(ROOT).as_posix()
