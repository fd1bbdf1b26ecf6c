"""Tool calls as Qwen3-Coder, Qwen3.5 and Nemotron 3 write them: a function and its parameters, each in a tag.

For example:

<tool_call>
<function=search>
<parameter=query>
author of Emma
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

import re

from aepo.rollout.chat.formats.tagged import Tags, tagged

_TAGS = Tags(
    start=re.compile(r"<tool_call>\s*<function=[^>\n]*>"),
    opened=re.compile(r"\s*<parameter=[^>\n]+>"),
    closed=re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>))"),
    call=re.compile(r"\s*<function=([^>\n]+)>(.*)</function>\s*", re.DOTALL),
    argument=re.compile(r"\s*<parameter=([^>\n]+)>(\0*)</parameter>\s*"),
    form="<function=name>...</function>",
    each="<parameter=name>...</parameter>",
    word="parameter",
    text=lambda text: text.removeprefix("\n").removesuffix("\n"),
)
XML = tagged("<function=...> in <tool_call> tags", _TAGS)
