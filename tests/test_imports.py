"""`import aepo` loads nothing heavy, and every public name is there when it is asked for."""

import subprocess
import sys

import pytest

import aepo


def test_importing_the_package_loads_no_model_library() -> None:
    code = (
        "import sys, aepo; "
        "heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'tantivy', 'httpx', 'tyro', 'rich'}; "
        "heavy &= sys.modules.keys(); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_the_listed_ones() -> None:
    assert dir(aepo) == sorted(aepo.__all__)
    assert len(set(aepo.__all__)) == len(aepo.__all__)


@pytest.mark.parametrize("name", aepo.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(aepo, name) is not None
    assert getattr(aepo, name) is getattr(aepo, name)


def test_packages_are_not_hidden_by_functions_or_the_other_way_round() -> None:
    import aepo.evaluation.runner
    import aepo.tasks.atlas
    import aepo.tools.python
    import aepo.tools.search
    import aepo.training.loop

    for name in ("train", "evaluate", "atlas", "search", "python", "view", "tool", "load_policy"):
        assert callable(getattr(aepo, name)), f"aepo.{name} is a {type(getattr(aepo, name)).__name__}"
    assert aepo.tools.python.python is aepo.python


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'aepo' has no attribute 'AEPOO'"):
        aepo.AEPOO  # noqa: B018
