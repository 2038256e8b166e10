"""Kernels multiply: one folder a kernel, its plain twin is its specification.

Each folder has `reference.py` (plain jnp: what the kernel must compute) and one file per platform;
its `__init__.py` picks by platform.
"""
