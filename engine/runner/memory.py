"""How many pages fit, from exact sizes and `engine.kv_cache.sizing`."""

from __future__ import annotations

from engine.config import ResolvedConfig
from engine.errors import MemoryPlanError
from engine.kv_cache.sizing import (
    MemoryDemand,
    num_pages_needed,
    num_pages_within,
    plan_num_pages,
    verify_num_pages,
)
from engine.request import MAX_LOGPROB_TOKEN_IDS
from engine.sampling.row import num_words
from models.config import DecoderConfig
from pallas_kernels.paged_attention import kv_page_bytes


def page_bytes(decoder: DecoderConfig, config: ResolvedConfig, kind: str) -> int:
    """Bytes of one page in all layers on one device, in the layout of `kind`."""
    num_kv_heads = decoder.num_kv_heads // config.tensor_parallel_size
    shape = (config.page_size, num_kv_heads, decoder.head_dim)
    return decoder.num_layers * kv_page_bytes(*shape, config.kv_dtype, kind)


def slot_state_bytes(decoder: DecoderConfig, config: ResolvedConfig) -> int:
    """Bytes of `engine.sampling.SlotState`, which every device has whole."""
    num_masks = 2 * num_words(decoder.vocab_size)
    row_items = 1 + 2 * decoder.vocab_size + num_masks + MAX_LOGPROB_TOKEN_IDS
    return (config.max_num_seqs + 1) * 4 * row_items


def estimated_temporary_bytes(decoder: DecoderConfig, config: ResolvedConfig) -> int:
    """A generous guess of a step's scratch memory, for CPUs, whose memory is not all ours anyway.

    The widest activations of all tokens, and a handful of arrays as large as the logits.
    """
    token_bytes = 4 * (
        4 * decoder.d_ff + 8 * decoder.d_model + 4 * decoder.num_heads * decoder.head_dim
    )
    num_logit_rows = max(config.max_num_seqs, config.prompt_logprobs_chunk_tokens)
    return config.max_num_batched_tokens * token_bytes + 6 * 4 * num_logit_rows * decoder.vocab_size


def plan_pages(
    decoder: DecoderConfig,
    config: ResolvedConfig,
    *,
    kind: str,
    weight_bytes: int,
    temporary_bytes: int,
) -> int:
    """Pages of the pool, the trash page included.

    No more than all slots can use at full length: what is left of them serves the prefix cache.

    Raises:
        MemoryPlanError: what must fit does not; the sentence names the flag.
    """
    demand = MemoryDemand(
        usable_bytes=config.max_device_bytes,
        weight_bytes=weight_bytes,
        temporary_bytes=temporary_bytes,
        slot_state_bytes=slot_state_bytes(decoder, config),
        page_bytes=page_bytes(decoder, config, kind),
    )
    if config.num_pages_override is not None:
        return _verified(config.num_pages_override, demand, config, "--num-gpu-blocks-override")
    num_fitting = plan_num_pages(
        demand, max_model_len=config.max_model_len, page_size=config.page_size
    )
    num_wanted = num_pages_within(config.max_kv_cache_bytes, demand.page_bytes)
    if config.is_kv_cache_exact and num_wanted > num_fitting:
        raise MemoryPlanError(
            f"--kv-cache-memory-bytes {config.max_kv_cache_bytes} does not fit: "
            f"{num_fitting * demand.page_bytes} bytes are left beside weights and temporaries."
        )
    num_useful = config.max_num_seqs * (
        num_pages_needed(config.max_model_len, config.page_size) - 1
    )
    if not config.is_kv_cache_exact:
        num_wanted = min(num_wanted, num_fitting, num_useful + 1)
    return _verified(num_wanted, demand, config, "--kv-cache-memory-bytes")


def _verified(num_pages: int, demand: MemoryDemand, config: ResolvedConfig, flag: str) -> int:
    verify_num_pages(
        num_pages,
        max_model_len=config.max_model_len,
        page_size=config.page_size,
        page_bytes=demand.page_bytes,
        remedy=f"raise {flag}",
    )
    return num_pages
