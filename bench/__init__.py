"""Measurements and the scripts that make what we ship; nobody imports this package."""
