"""From token ids back to answers: `*/derender`."""
