"""Reading what families' config.json files have in common."""

from __future__ import annotations

from typing import Any

from models.config import DecoderConfig, RopeScaling
from models.errors import UnsupportedModel
from models.family import HFConfig

SUPPORTED_ACTIVATIONS = frozenset({"silu", "gelu", "gelu_pytorch_tanh"})
SUPPORTED_DTYPES = frozenset({"float32", "bfloat16", "float16"})


def read_decoder_config(hf_config: HFConfig, **differences: Any) -> DecoderConfig:
    """A DecoderConfig of the names that all families share; `differences` win.

    Raises:
        UnsupportedModel: a value that the decoder does not compute.
    """
    refuse_unsupported(hf_config)
    num_heads = int(hf_config["num_attention_heads"])
    theta, scaling = read_rope(hf_config)
    fields: dict[str, Any] = {
        "architecture": hf_config["architectures"][0],
        "vocab_size": int(hf_config["vocab_size"]),
        "d_model": int(hf_config["hidden_size"]),
        "num_layers": int(hf_config["num_hidden_layers"]),
        "num_heads": num_heads,
        "num_kv_heads": int(hf_config.get("num_key_value_heads") or num_heads),
        "head_dim": int(hf_config.get("head_dim") or hf_config["hidden_size"] // num_heads),
        "d_ff": int(hf_config["intermediate_size"]),
        "norm_eps": float(hf_config.get("rms_norm_eps", 1e-6)),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "max_position_embeddings": int(hf_config.get("max_position_embeddings", 2048)),
        "windows": (0,) * int(hf_config["num_hidden_layers"]),
        "tie_word_embeddings": bool(hf_config.get("tie_word_embeddings", False)),
        "activation": hf_config.get("hidden_act", "silu"),
        "dtype": read_dtype(hf_config),
    }
    return DecoderConfig(**(fields | differences))


def text_part(hf_config: HFConfig) -> HFConfig:
    """The text model's entries of a model that has other parts; itself if it has none."""
    inner: HFConfig = hf_config.get("text_config") or {}
    dtype = inner.get("dtype") or inner.get("torch_dtype") or read_dtype(hf_config)
    kept = {"architectures": hf_config["architectures"], "dtype": dtype}
    return {**hf_config, **inner, **kept} if inner else hf_config


def read_dtype(hf_config: HFConfig) -> str:
    """The checkpoint's dtype: `dtype`, or `torch_dtype` as it was called before transformers 5."""
    dtype = str(hf_config.get("dtype") or hf_config.get("torch_dtype") or "float32")
    return dtype.removeprefix("torch.")


def read_rope(hf_config: HFConfig) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from `rope_parameters` (transformers 5) or `rope_theta`/`rope_scaling`.

    Raises:
        UnsupportedModel: a kind of scaling that is not computed.
    """
    rope = merged_rope(hf_config)
    theta = float(rope.get("rope_theta") or hf_config.get("rope_theta") or 10000.0)
    kind = rope.get("rope_type") or "default"
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, RopeScaling(kind="linear", factor=float(rope["factor"]))
    if kind == "llama3":
        return theta, RopeScaling(
            kind="llama3",
            factor=float(rope["factor"]),
            low_freq_factor=float(rope["low_freq_factor"]),
            high_freq_factor=float(rope["high_freq_factor"]),
            original_max_position_embeddings=int(rope["original_max_position_embeddings"]),
        )
    raise UnsupportedModel(f"rope scaling {kind!r} is not supported; supported: linear, llama3")


def merged_rope(hf_config: HFConfig) -> HFConfig:
    """`rope_parameters` overruled by `rope_scaling`, as transformers 5 merges them; the old name
    `type` is read as `rope_type`."""
    rope: HFConfig = {}
    for name in ("rope_parameters", "rope_scaling"):
        given: HFConfig = dict(hf_config.get(name) or {})
        if "type" in given:
            given.setdefault("rope_type", given["type"])
        rope |= given
    return rope


def refuse_unsupported(hf_config: HFConfig) -> None:
    """Raise UnsupportedModel for values that would be computed wrongly if they were ignored."""
    rope = merged_rope(hf_config)
    rotary_fraction = rope.get("partial_rotary_factor", hf_config.get("partial_rotary_factor"))
    sizes = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
    refused = {
        **{name: int(hf_config[name]) < 1 for name in (*sizes, "vocab_size")},
        "quantization_config": _quantises_weights(hf_config.get("quantization_config")),
        "partial_rotary_factor": rotary_fraction not in (None, 1, 1.0),
        "hidden_act": hf_config.get("hidden_act", "silu") not in SUPPORTED_ACTIVATIONS,
        "dtype": read_dtype(hf_config) not in SUPPORTED_DTYPES,
    }
    for name, is_refused in refused.items():
        if is_refused:
            raise UnsupportedModel(f"{name} = {hf_config.get(name)!r} is not supported")


def _quantises_weights(config: HFConfig | None) -> bool:
    """Whether a `quantization_config` says more than how keys and values are to be cached."""
    if config is None:
        return False
    is_of_cache = bool(config.get("kv_cache_scheme") or config.get("kv_cache_quant_algo"))
    return not is_of_cache or bool(config.get("config_groups") or config.get("quant_algo"))


def read_windows(hf_config: HFConfig, window: int | None, first_layer: int = 0) -> tuple[int, ...]:
    """Per-layer windows: `layer_types` says which layers slide, else all from `first_layer` on."""
    num_layers = int(hf_config["num_hidden_layers"])
    slides = [index >= first_layer for index in range(num_layers)]
    if hf_config.get("layer_types"):
        slides = [kind == "sliding_attention" for kind in hf_config["layer_types"]]
    return tuple((window or 0) if is_sliding else 0 for is_sliding in slides)
