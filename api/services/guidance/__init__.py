"""What an answer is held to: formats, calls, thoughts."""
