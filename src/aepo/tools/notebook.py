"""Runs inside, around a program of the model, and shows what a notebook would.

The source of this file is sent along with the program, to whatever sandbox: it may import only what costs next to
nothing. The program is the module `__main__`, these lines are not in it, so it can neither break nor see them.
"""

import _ast
import _sitebuiltins
import builtins
import io
import os
import sys

FILE = "cell.py"
"""Where the program's text is written, for those that look there: tracebacks, warnings, `inspect`, processes that are
not forked."""

pieces = builtins.print


def print(*values, sep=" ", end="\n", file=None, flush=False):
    """Print the values, with `sep` between them and `end` after them, to `file` or else to sys.stdout."""
    file = sys.stdout if file is None else file
    if type(file) is Stream:
        # In one write: it is faster, and lines of threads and processes stay whole.
        try:
            pieces(*values, sep=sep, end=end, file=file.whole)
        finally:
            file.whole.flush()
    else:
        pieces(*values, sep=sep, end=end, file=file, flush=flush)


class Stream(io.TextIOWrapper):
    """Keeps nothing back: what is still held when a program is killed, in whatever loop, is lost."""

    def __init__(self, old):
        """Take the place of a stream."""
        encoding, errors, buffer = old.encoding, old.errors, old.detach()
        self.whole = io.TextIOWrapper(buffer, encoding, errors)
        super().__init__(buffer.raw, encoding, errors, write_through=True)


def run(source):
    """Run it, print the value of a last bare expression, and tell of an exception in one line on the old stderr."""
    told = os.dup(2)
    prepare()
    error = cell(source, FILE, written)
    if error is not None:
        line = described(error, FILE).replace("\n", " ")
        try:
            os.write(told, f"\n{line}\n".encode("utf-8", "backslashreplace"))
        except OSError:  # the program has closed it
            print(line)
        raise SystemExit(1)


def prepare():
    """Give the program the streams and names that it knows from a terminal."""
    # As on a terminal: both streams in the order of what is written.
    os.dup2(1, 2)
    sys.stdout = sys.__stdout__ = Stream(sys.stdout)
    sys.stderr = sys.__stderr__ = Stream(sys.stderr)
    builtins.print = print
    builtins.exit, builtins.quit = _sitebuiltins.Quitter("exit", "Ctrl-D"), _sitebuiltins.Quitter("quit", "Ctrl-D")
    builtins.help = _sitebuiltins._Helper()


def cell(source, name, show):
    """Run it as the file of that name, and print the value of a last bare expression; its exception, or None.

    Before that, `show` is given the name and the text, for those that look there.
    """
    names = sys.modules["__main__"].__dict__
    try:
        tree, source = parsed(source, name)
        show(name, source)
        last = tree.body.pop().value if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
        exec(compile(tree, name, "exec", dont_inherit=True), names)
        if last is not None:
            sys.displayhook(eval(compile(_ast.Expression(last), name, "eval", dont_inherit=True), names))
    except SystemExit:
        raise
    except BaseException as caught:
        return caught
    return None


def written(name, source):
    """Write the text to the file."""
    try:
        with open(name, "w", encoding="utf-8") as file:
            file.write(source)
    except OSError:
        # Then they show no lines.
        return
    sys.modules["__main__"].__file__ = name


def parsed(source, name):
    """Its tree and its text; if it is none of Python, that of the text within the marks of a message, if it is one."""
    try:
        return compile(source, name, "exec", 0x400, dont_inherit=True), source
    except SyntaxError as error:
        import re
        import textwrap

        bare = source.lstrip("\ufeff").replace("\xa0", " ")
        fenced = re.findall(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", bare, re.DOTALL | re.MULTILINE)
        bare = textwrap.dedent("\n".join(fenced) or bare)
        try:
            return compile(bare, name, "exec", 0x400, dont_inherit=True), bare
        except SyntaxError:
            raise error from None


def described(error, name):
    """Name, message and line, and nothing else: the model pays for every token."""
    line, trace, place = getattr(error, "lineno", None), error.__traceback__, ""
    while trace is not None:
        place = trace.tb_frame.f_code.co_filename
        if place == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(getattr(error, "msg", None) if isinstance(error, SyntaxError) else error)[:300]
    except BaseException:
        text = ""
    text = type(error).__name__ + (f": {text}" if text else "") + (f" (line {line})" if isinstance(line, int) else "")
    if text.startswith("EOFError: EOF when reading"):
        return text + "; programs are given no input"
    if isinstance(error, OSError) and "/multiprocessing/" in place:
        return text + "; processes have no locks or memory in common here: use threading, or one process"
    return text
