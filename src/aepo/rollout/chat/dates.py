"""Gives a chat template a fixed date, so that a run's prompts are the same on every day.

Many templates ask for today's date (`strftime_now`). transformers takes it from the clock and accepts no other
function. So the template itself gets a macro of this name, which knows the date in each format that the template has.
"""

from __future__ import annotations

import datetime

VARIABLE = "dates_of_the_run"
"""The template's variable with the date in each format."""
_CLOCK = "strftime_now"
_NO_FORMAT = "it makes a date format that is not written in it"
_LONGEST_FORMAT = 100
_MACRO = (
    f"{{%- macro {_CLOCK}(format) -%}}{{%- if format in {VARIABLE} -%}}{{{{ {VARIABLE}[format] }}}}{{%- else -%}}"
    f"{{{{ raise_exception('{_NO_FORMAT}: ' ~ format) }}}}"
    "{%- endif -%}{%- endmacro %}"
)


def asks_for_the_date(source: str) -> bool:
    """Whether a template asks for today's date."""
    return _CLOCK in source


def with_fixed_date(source: str, date: datetime.date) -> tuple[str, dict[str, str]]:
    """The template with a fixed date, and the value of its variable `VARIABLE`."""
    # A format is a text in quotes. Unused texts do no harm, so the quotes need not be paired.
    texts = {text for quote in "'\"" for text in source.split(quote) if "%" in text and len(text) <= _LONGEST_FORMAT}
    return _MACRO + source, {text: date.strftime(text) for text in texts if "\0" not in text}
