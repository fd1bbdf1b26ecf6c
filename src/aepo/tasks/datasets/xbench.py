"""xbench-DeepSearch: Chinese questions for agents that search (arXiv 2506.13651), encrypted against crawlers.

    {"id": "1", "prompt": "6Kut5Y2D...", "answer": "5LiA...", "reference_steps": "...", "canary": "<a key>"}

`prompt`, `answer` and `reference_steps` are base64 of the UTF-8 text, xor-ed byte by byte with the repeated `canary`.
A file in which `prompt` is already plain text (or called `question`) is read as it is.

Hub: `xbench/DeepSearch`, split `train` (100 rows; the paper's copy has 99); open. Licence: see the card. Publish no
decoded row.
Score: a judge, as the publisher's.
"""

from __future__ import annotations

import base64
import binascii
from itertools import cycle

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def decoded_question_and_answers(row: Row) -> tuple[str, list[str]]:
    """Question and answer as plain text."""
    question, targets = row.text("prompt", *QUESTION), row.texts(*ANSWER)
    canary = row.optional("canary")
    # A short plain answer can look like base64 by chance, so only the question shows whether a row is encrypted.
    if canary and _is_base64(question):
        try:
            question, *targets = (decoded(text, str(canary)) for text in (question, *targets))
        except (binascii.Error, UnicodeDecodeError):
            raise row.error("field 'prompt' or 'answer' cannot be decoded with the row's 'canary'") from None
    return question, targets


def decoded(text: str, canary: str) -> str:
    """The plain text of an encrypted field.

    Raises:
        binascii.Error: It is not base64.
        UnicodeDecodeError: The key does not fit.
    """
    data = base64.b64decode(text, validate=True)
    return bytes(byte ^ key for byte, key in zip(data, cycle(canary.encode()), strict=False)).decode()


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


DATA_SET = DataSet(
    name="xbench",
    title="xbench-DeepSearch",
    hub=Hub("xbench/DeepSearch", "train"),
    licence="see the card; not to be published decoded",
    rows=100,
    method="judge",
    read=decoded_question_and_answers,
    tools=("search", "browse", "python"),
)
