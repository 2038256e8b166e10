"""Which model, and how it is read and spoken to."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import JSON, MODEL_LEN, NAMES, PATH, TEXT, choice, integer

MODEL = "Model"

FLAGS = (
    Flag(
        name="model",
        kind=TEXT,
        group=MODEL,
        fields=("engine.model",),
        help="Folder in Hugging Face's format or hub id; also the positional argument. Without "
        "it the small model that comes with servax is served.",
    ),
    Flag(
        name="served-model-name",
        kind=NAMES,
        group=MODEL,
        fields=("server.served_model_name",),
        help="Names clients may ask for; answers carry the first. Default: the model's own.",
    ),
    Flag(
        name="tokenizer",
        kind=TEXT,
        group=MODEL,
        fields=("engine.tokenizer",),
        help="Folder or hub id of the tokenizer, if it is not the model's.",
    ),
    Flag(
        name="revision",
        kind=TEXT,
        group=MODEL,
        fields=("engine.revision",),
        help="Branch, tag or commit on the hub.",
    ),
    Flag(
        name="tokenizer-revision",
        kind=TEXT,
        group=MODEL,
        fields=("engine.tokenizer_revision",),
        help="Branch, tag or commit of --tokenizer, or of the model's own tokenizer, on the hub.",
    ),
    Flag(
        name="download-dir",
        kind=PATH,
        group=MODEL,
        fields=("engine.download_dir",),
        help="Folder of models from the hub. Default: the hub library's own (HF_HOME).",
    ),
    Flag(
        name="hf-overrides",
        kind=JSON,
        group=MODEL,
        fields=("engine.hf_overrides",),
        help="Entries laid over the model's config.json, as a JSON object.",
    ),
    Flag(
        name="dtype",
        kind=choice(
            "auto",
            "float16",
            "bfloat16",
            "float32",
            synonyms={"half": "float16", "float": "float32"},
        ),
        group=MODEL,
        fields=("engine.dtype",),
        help="Type of weights and activations; auto takes the checkpoint's.",
    ),
    Flag(
        name="load-format",
        kind=choice("auto", "safetensors", "dummy"),
        group=MODEL,
        fields=("engine.load_format",),
        help="dummy gives random weights of the right shapes.",
    ),
    Flag(
        name="max-model-len",
        kind=MODEL_LEN,
        group=MODEL,
        fields=("engine.max_model_len",),
        help="Longest prompt and output together, in tokens; auto or -1 is the model's own.",
    ),
    Flag(
        name="seed",
        kind=integer(0, 2**63 - 1),
        group=MODEL,
        fields=("engine.seed",),
        help="Seed of the random weights of --load-format dummy. Sampling does not use it: a "
        "request without a seed gets a random one.",
    ),
    Flag(
        name="generation-config",
        kind=TEXT,
        group=MODEL,
        fields=("server.generation_config",),
        help="Where sampling defaults come from: auto (the model's folder), vllm (none), or a "
        "folder.",
    ),
    Flag(
        name="override-generation-config",
        kind=JSON,
        group=MODEL,
        fields=("server.override_generation_config",),
        help="Sampling defaults laid over those, as a JSON object; values that no request may have "
        "are refused.",
    ),
    Flag(
        name="chat-template",
        kind=TEXT,
        group=MODEL,
        fields=("server.chat_template",),
        help="File or text of a Jinja template instead of the model's own.",
    ),
    Flag(
        name="default-chat-template-kwargs",
        kind=JSON,
        group=MODEL,
        fields=("server.default_chat_template_kwargs",),
        help="Variables given to the chat template unless a request sets them.",
    ),
    Flag(
        name="chat-template-content-format",
        kind=choice("auto", "string", "openai"),
        group=MODEL,
        fields=("server.chat_template_content_format",),
        help="Give templates each message's content as one text, or as OpenAI's parts; auto goes "
        "by how the template reads it.",
    ),
)
