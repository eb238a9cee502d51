"""The tables."""

from serve.models.base import Base
from serve.models.chat_message import ChatMessage, Role, Status
from serve.models.conversation import Conversation
from serve.models.llm_config import LLMConfig
from serve.models.reply_config import ReplyConfig

__all__ = ["Base", "ChatMessage", "Conversation", "LLMConfig", "ReplyConfig", "Role", "Status"]
