"""What a template is told of the date does not depend on the clock, and everything else it writes stays the same."""

from __future__ import annotations

import datetime

import pytest

from aepo.rollout.chat import make_protocol
from aepo.rollout.chat.template import Template, message

DAY = datetime.date(2025, 1, 31)
BODY = "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}"
LLAMA = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}{{ date_string }}"
)
END = "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def shown(make_tokenizer, head: str, date: datetime.date | None = DAY) -> str:
    return Template(make_tokenizer(head + BODY + END), date=date).render([message("user", "Who?")])


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "31 Jan 2025"),
        ('{{ strftime_now("%Y-%m-%d") }}', "2025-01-31"),
        ("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", "2025-01-31 00:00:00"),
        (LLAMA, "31 Jan 2025"),
        ("{%- set form = '%B %d' %}{{ strftime_now(form) }} it's", "January 31 it's"),
        ("{%- macro today() %}{{ strftime_now('%A') }}{% endmacro %}{{ today() }}", "Friday"),
        ("\n{{ \"don't say '%Z' \" }}{{ strftime_now('%j') }}", "don't say '%Z' 031"),
    ],
)  # fmt: skip
def test_a_template_that_asks_is_told_the_date_of_the_run(make_tokenizer, head: str, text: str) -> None:
    told = shown(make_tokenizer, head)
    assert text in told and told.endswith(shown(make_tokenizer, "")), "the rest is as without a date"


@pytest.mark.parametrize("name", ["qwen25", "qwen3", "smollm2"])
def test_a_template_that_does_not_ask_is_rendered_as_ever(tokenizers, name: str) -> None:
    chat = [message("user", "Who?")]
    assert Template(tokenizers[name], date=DAY).render(chat) == Template(tokenizers[name]).render(chat)


def test_a_format_that_is_nowhere_written_is_refused_in_words(make_tokenizer) -> None:
    with pytest.raises(ValueError, match="makes a date format that is not written in it: %Y-%m"):
        shown(make_tokenizer, "{{ strftime_now('%' ~ 'Y-%m') }}")


@pytest.mark.parametrize("name", ["tags", "chat"])
def test_a_protocol_keeps_the_day_that_it_began_with(make_tokenizer, name, monkeypatch: pytest.MonkeyPatch) -> None:
    words = make_tokenizer("{{ strftime_now('%d %b %Y') }}" + BODY + END)
    assert "31 Jan 2025" in words.decode(make_protocol(name, words, date=DAY).prompt("Who?"))
    today = make_protocol(name, words)
    before = today.prompt("Who?")

    class Tomorrow(datetime.date):
        @classmethod
        def today(cls) -> datetime.date:
            return datetime.date(2100, 1, 1)

    monkeypatch.setattr(datetime, "date", Tomorrow)
    assert today.prompt("Who?") == before
