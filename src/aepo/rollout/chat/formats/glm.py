"""Tool calls as GLM 4.5 and later write them: a name, and a key and a value for each argument.

For example:

<tool_call>search
<arg_key>query</arg_key>
<arg_value>author of Emma</arg_value>
</tool_call>
"""

from __future__ import annotations

import re

from aepo.rollout.chat.formats.tagged import Tags, tagged

_TAGS = Tags(
    start=re.compile(r"<tool_call>[^<>]*"),
    opened=re.compile(r"\s*<arg_key>[^<>\n]+</arg_key>\s*<arg_value>"),
    closed=re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>))"),
    call=re.compile(r"\s*([^<>\s]+)\s*(.*)", re.DOTALL),
    argument=re.compile(r"<arg_key>([^<>\n]+)</arg_key>\s*<arg_value>(\0*)</arg_value>\s*"),
    form="name, <arg_key>, <arg_value>",
    each="<arg_key>, <arg_value>",
    word="argument",
    text=lambda text: text,
)
GLM = tagged("<arg_key> and <arg_value> in <tool_call> tags", _TAGS)
