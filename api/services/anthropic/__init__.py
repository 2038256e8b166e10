"""Anthropic's Messages API over the chat service: words in, words out, nothing generated here."""
