"""Pieces every mixer and block is built of. Arithmetic between matmuls is float32."""
