"""What a model server is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serve.models import ReplyConfig


@dataclass(frozen=True)
class Asked:
    """What the model is asked: the messages as the protocol has them, and how to answer."""

    messages: Sequence[dict[str, str]]
    config: ReplyConfig
    request_id: str

    def body(self) -> bytes:
        """The request's body."""
        optional = {
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "max_tokens": self.config.max_tokens,
            "stop": self.config.stop,
        }
        fields: dict[str, Any] = {
            "model": self.config.model_name,
            "messages": self.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return orjson.dumps(fields | {k: v for k, v in optional.items() if v is not None})
