"""Completions: text in, text out, with what only they take."""
