"""A chat template whose clock stands still: prompts of a run do not depend on the day on which they are written.

Templates of many families ask for today's date (`strftime_now`). transformers answers by the clock and takes no other
function, so that the template itself is given one: a macro over the formats that are written in it.
"""

from __future__ import annotations

import datetime

VARIABLE = "dates_of_the_run"
"""The template's variable with the date in each format."""
NO_FORMAT = "the chat template makes a date format that is not written in it"
"""What a template says that would need the clock itself."""
_CLOCK = "strftime_now"
_LONGEST_FORMAT = 100
_MACRO = (
    f"{{%- macro {_CLOCK}(format) -%}}{{%- if format in {VARIABLE} -%}}{{{{ {VARIABLE}[format] }}}}{{%- else -%}}"
    f"{{{{ raise_exception('{NO_FORMAT}: ' ~ format) }}}}"
    "{%- endif -%}{%- endmacro %}"
)


def asks_for_the_date(source: str) -> bool:
    """Whether a template reads the clock."""
    return _CLOCK in source


def with_fixed_date(source: str, date: datetime.date) -> tuple[str, dict[str, str]]:
    """The template with `date` for its clock, and what its variable `VARIABLE` has to hold."""
    # A format is a text in quotes; which quotes belong together does not matter, unused formats do no harm.
    texts = {text for quote in "'\"" for text in source.split(quote) if "%" in text and len(text) <= _LONGEST_FORMAT}
    return _MACRO + source, {text: date.strftime(text) for text in texts if "\0" not in text}
