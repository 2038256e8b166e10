"""Chat completions: one answer, several, streamed, stored."""
