"""Paged attention for TPUs: ragged batches over pages of packed words.

`docs/kernels_tpu.md` explains it with a picture; `supports` says what is left to XLA.
"""

from __future__ import annotations

from pallas_kernels.paged_attention.tpu.attend import attend, write_kv
from pallas_kernels.paged_attention.tpu.layout import kv_page_bytes, make_kv_pages
from pallas_kernels.paged_attention.tpu.support import supports

__all__ = ["attend", "kv_page_bytes", "make_kv_pages", "supports", "write_kv"]
