"""Devices as a mesh of ("data", "model"), and where each array of the step lies on it."""
