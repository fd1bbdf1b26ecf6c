"""Blocks of a page are found wherever they stand, with the remark before them."""

from __future__ import annotations

import pytest

from tests.fenced import Block, blocks, remarks

PAGE = """\
# A page

```bash
aepo train a.yaml x=1 \\
    y=2   # why
KEY=1 aepo view "a b"
```

- In a list:

  <!-- not run: needs a
       server -->
  ```python
  # mine.py
  x = 1
  ```

<!-- not run: too far away -->

Some text.

```
plain
```

    indented
"""


def test_every_block_is_found_with_its_remark() -> None:
    bash, python, plain, indented = blocks(PAGE)
    assert bash.language == "bash" and bash.line == 3 and bash.not_run is None
    assert python == Block(13, "python", "# mine.py\nx = 1\n", "needs a\n     server")
    assert plain.language == "" and plain.not_run is None
    assert indented.language == "indented"
    assert remarks(PAGE) == 2


def test_commands_are_words_without_comments_and_variables() -> None:
    assert blocks(PAGE)[0].commands == [["aepo", "train", "a.yaml", "x=1", "y=2"], ["aepo", "view", "a b"]]


@pytest.mark.parametrize(
    ("language", "text", "file"),
    [
        ("python", "# mine.py\nx = 1", "mine.py"),
        ("python", "# mine.py; train on it\nx = 1", "mine.py"),
        ("python", "x = 1  # mine.py", None),
        ("python", "# a remark\nx = 1", None),
        ("bash", "# mine.py\nls", None),
    ],
    ids=["name", "remark-after", "not-first", "no-name", "bash"],
)
def test_a_block_may_be_a_file(language: str, text: str, file: str | None) -> None:
    assert Block(1, language, text).file == file
