"""Installed packages inside: off by default, the host's own, or those of a virtual environment."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aepo.tools.python import python
from aepo.tools.sandbox.base import SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.packages import folders, fonts, importable

BACKENDS = ["sandlock", "bubblewrap", "unsafe_no_sandbox"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    try:
        choose(request.param)
    except SandboxUnavailable as error:
        if "not contained" in str(error):
            raise
        pytest.skip(str(error))
    return str(request.param)


def test_without_packages_only_the_standard_library_imports(backend: str) -> None:
    result = anyio.run(choose(backend).run, "import numpy", 20)
    assert result.status is SandboxStatus.ERROR and "No module named 'numpy'" in result.stderr


def test_numpy_computes_inside(backend: str) -> None:
    code = "import numpy as np\na = np.eye(200)\nprint(int((a @ a).sum()), float(np.linalg.det(a)))"
    result = anyio.run(choose(backend, "host").run, code, 60)
    assert (result.status, result.stdout) == (SandboxStatus.OK, "200 1.0\n"), result.stderr


def test_numpy_is_refused_memory_as_python_is(backend: str) -> None:
    result = anyio.run(choose(backend, "host").run, "import numpy\nnumpy.ones((1 << 40,))", 60)
    assert result.status is SandboxStatus.MEMORY_LIMIT, result.stderr


def test_sympy_computes_inside(backend: str) -> None:
    if importlib.util.find_spec("sympy") is None:
        pytest.skip("sympy is not installed")
    code = "from sympy import integrate, symbols\nx = symbols('x')\nprint(integrate(x**2, x))"
    assert anyio.run(choose(backend, "host").run, code, 60).stdout == "x**3/3\n"


def test_matplotlib_finds_its_list_of_fonts_made_and_draws(backend: str) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    code = """
import os, matplotlib
def cached():
    folder = matplotlib.get_cachedir()
    return {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
before = cached()
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
plt.savefig("a.png")
print(before == cached(), [name[:8] for name in before], os.path.getsize("a.png") > 999)
"""
    result = anyio.run(choose(backend, "host").run, code, 60)
    assert (result.stdout, result.stderr) == ("True ['fontlist'] True\n", "")


def test_a_list_of_fonts_is_made_once_if_it_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    assert fonts(()) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = fonts(folders("host"))
    assert made is not None
    (listed,) = made.iterdir()
    before = listed.stat().st_ino
    assert fonts(folders("host")) == made and listed.stat().st_ino == before
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fonts(folders("host")) is None


def test_a_virtual_environment_brings_its_packages(backend: str, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = folders(environment)
    (packages / "ours.py").write_text("answer = 42\n")
    box = choose(backend, environment)
    assert anyio.run(box.run, "import ours\nprint(ours.answer)", 20).stdout == "42\n"
    wrote = anyio.run(box.run, "import ours\nopen(ours.__file__, 'a').write('#')\nprint('wrote')", 20)
    assert wrote.stdout == "" or backend == "unsafe_no_sandbox"


def test_what_is_no_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no virtual environment for python3\.\d+: no folder"):
        folders(tmp_path)


def test_the_model_is_told_what_it_may_import(backend: str) -> None:
    assert importable(None) == [] and "numpy" in importable("host")
    assert "Only the standard library; no files" in python(sandbox=backend).description
    told = python(sandbox=backend, packages="host")
    assert "Only the standard library, numpy" in told.description
    assert told.details == {"sandbox": backend, "packages": "host"}


def test_packages_and_a_sandbox_object_exclude_each_other(backend: str) -> None:
    with pytest.raises(ValueError, match="packages belong to a sandbox"):
        python(sandbox=choose(backend), packages="host")
