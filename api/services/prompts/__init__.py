"""From what a client wrote to token ids."""
