"""The formats of tool calls, one per module. A model's chat template decides which format it has (`find_format`)."""

from aepo.rollout.chat.formats.base import CallFormat
from aepo.rollout.chat.formats.find import find_format
from aepo.rollout.chat.formats.harmony import HARMONY
from aepo.rollout.chat.formats.json_tags import JSON

__all__ = ["HARMONY", "JSON", "CallFormat", "find_format"]
