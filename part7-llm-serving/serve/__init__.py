"""The chat server: conversations with any OpenAI-compatible model, and nothing of them is lost."""
