"""What the API knows of the served model: its names, its text side, its formats, its defaults."""
