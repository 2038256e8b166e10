"""Flags of vLLM 0.33 (and some before it) that mean nothing here: accepted with one warning.

They are listed so that a command line written for vLLM starts, and so that a misspelt flag is
still an error.
"""

from __future__ import annotations

ALWAYS_ON = frozenset(
    """
    enable-prompt-tokens-details enable-request-id-headers enable-server-load-tracking
    enable-scale-out enable-chunked-prefill async-scheduling enable-sleep-mode
    disable-uvicorn-access-log
    """.split()
)
"""What these ask for is what servax always does."""

BOOLEANS = ALWAYS_ON | frozenset(
    """
    enforce-eager allow-deprecated-quantization enable-return-routed-experts return-sampling-mask
    use-fp64-gumbel enable-trace-replay disable-sliding-window disable-cascade-attn
    skip-tokenizer-init sleep-mode-offload-cudagraph
    sleep-preserve-parameter-names enable-cumem-allocator enable-nccl-comm-suspend
    use-tqdm-on-load enable-mamba-cache-stochastic-rounding numa-bind dcp-q-replicate
    data-parallel-hybrid-lb data-parallel-external-lb data-parallel-multi-port-external-lb
    enable-hc-sp enable-expert-parallel enable-batch-sharded-sampling enable-ep-weight-filter
    enable-dbo enable-shm-tensor-arena enable-elastic-ep disable-nccl-for-dp-synchronization
    enable-eplb ray-workers-use-nsight disable-custom-all-reduce enable-fault-tolerance
    kv-sharing-fast-prefill swa-bounded-replay enable-mamba-shared-prefix-checkpoint use-replayssm
    language-model-only enable-mm-embeds mm-encoder-only interleave-mm-strings skip-mm-profiling
    mm-device-do-normalize enable-lora enable-tower-connector-lora fully-sharded-loras
    specialize-active-lora enable-mixed-moe-lora-format enable-moe-shared-loras
    per-request-spec-decode-metrics kv-cache-metrics cudagraph-metrics
    enable-layerwise-nvtx-tracing enable-mfu-metrics enable-logging-iteration-details
    jit-monitor-verbose long-prefill-token-threshold-adaptive disable-chunked-mm-input
    scheduler-reserve-full-isl disable-hybrid-kv-cache-manager enable-flashinfer-autotune
    monokernel aggregate-engine-logging fail-on-environ-validation
    trust-request-mm-kwargs enable-log-outputs enable-log-deltas
    cohere-is-reasoning-model log-error-stack tokens-only
    enable-ssl-refresh enable-offline-docs
    enable-flash-late-interaction headless grpc disable-log-requests use-v2-block-manager
    disable-frontend-multiprocessing enable-reasoning
    """.split()
)
"""Given without a value; `--no-` forms are known too."""

VALUES = frozenset(
    """
    hf-config-path allowed-local-media-path allowed-media-domains
    code-revision quantization quantization-config
    hf-token model-class-overrides pooler-config sleep-mode-backend
    logits-processors io-processor-plugin renderer-num-workers
    safetensors-load-strategy safetensors-prefetch-num-threads safetensors-prefetch-block-size
    model-loader-extra-config ignore-patterns pt-load-map-location attention-backend mamba-backend
    mamba-ssu-algorithm mamba-cache-philox-rounds reasoning-parser-plugin
    distributed-executor-backend master-addr master-port nnodes node-rank
    distributed-timeout-seconds cpu-distributed-timeout-seconds numa-bind-nodes numa-bind-cpus
    device-ids decode-context-parallel-size dcp-comm-backend dcp-kv-cache-interleave-size
    cp-kv-cache-interleave-size prefill-context-parallel-size data-parallel-rank
    data-parallel-start-rank data-parallel-size-local data-parallel-address
    data-parallel-rpc-port data-parallel-backend all2all-backend ubatch-size elastic-ep-max-dp-size
    dbo-decode-token-threshold dp-sync-interval dbo-prefill-token-threshold eplb-config
    expert-placement-strategy max-parallel-loading-workers worker-cls worker-extension-cls
    fault-tolerance-config prefix-caching-hash-algo prefix-cache-retention-interval
    kv-cache-dtype-skip-layers mamba-cache-dtype mamba-ssm-cache-dtype mamba-block-size
    prefix-match-unit mamba-cache-mode replayssm-buffer-len kv-offloading-size
    kv-offloading-backend offload-backend cpu-offload-gb cpu-offload-params offload-group-size
    offload-num-in-group offload-prefetch-step offload-params limit-mm-per-prompt media-io-kwargs
    mm-processor-kwargs mm-processor-cache-gb mm-processor-cache-type mm-hasher-algorithm
    mm-shm-cache-max-object-size-mb mm-encoder-tp-mode mm-encoder-attn-backend
    mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-path
    mm-encoder-fp8-scale-save-margin video-pruning-rate video-pruning-method mm-tensor-ipc
    mm-processor-device mm-ipc-gpu-memory-gb max-loras max-lora-rank lora-dtype max-cpu-loras
    lora-target-modules default-mm-loras max-lora-cls-labels logging-config log-config-file
     otlp-traces-endpoint collect-detailed-traces
    kv-cache-metrics-sample custom-histogram-buckets jit-monitor-mode max-num-scheduled-tokens
    max-num-active-seqs max-num-queued-tokens scheduler-cls watermark prefill-schedule-interval
    cudagraph-capture-sizes max-cudagraph-capture-size ir-op-priority moe-backend
    linear-backend sparse-indexer-topk-backend speculative-config spec-method spec-model
    spec-tokens watermark-config diffusion-config kv-transfer-config kv-events-config
    ec-transfer-config ec-manager-config compilation-config attention-config engram-config
    reasoning-config kernel-config additional-config aux-output-config
    watchdog-config optimization-level performance-mode weight-transfer-config
    gdn-prefill-backend kda-prefill-backend kda-decode-backend lora-modules
    tool-parser-plugin
    tool-strict-level tool-server max-log-len cohere-format anthropic-disabled-thinking-effort
    fingerprint-mode grpc-port data-parallel-supervisor-port
    dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s
    dp-supervisor-probe-failure-threshold disable-access-log-for-endpoints
    api-server-count guided-decoding-backend task swap-space
    num-scheduler-steps rope-scaling rope-theta max-seq-len-to-capture
    """.split()
)
"""Given with a value, or several."""

SHORT = {
    "-q": "quantization",
    "-sc": "speculative-config",
    "-ep": "enable-expert-parallel",
    "-n": "nnodes",
    "-r": "node-rank",
    "-dcp": "decode-context-parallel-size",
    "-pcp": "prefill-context-parallel-size",
    "-dpn": "data-parallel-rank",
    "-dpr": "data-parallel-start-rank",
    "-dpl": "data-parallel-size-local",
    "-dpa": "data-parallel-address",
    "-dpp": "data-parallel-rpc-port",
    "-dpb": "data-parallel-backend",
    "-dph": "data-parallel-hybrid-lb",
    "-dpe": "data-parallel-external-lb",
    "-dpm": "data-parallel-multi-port-external-lb",
    "-cc": "compilation-config",
    "-ac": "attention-config",
    "-dc": "diffusion-config",
    "-asc": "api-server-count",
}

ONLY = {
    "logprobs-mode": ("raw_logprobs",),
    "runner": ("auto", "generate"),
    "convert": ("auto", "none"),
    "tokenizer-mode": ("auto", "hf", "fast"),
    "config-format": ("auto", "hf"),
    "model-impl": ("auto",),
    "pipeline-parallel-size": ("1",),
}
"""Flags of which servax does only these values: they are accepted, and others refused."""

ONLY_SHORT = {"pipeline-parallel-size": "-pp"}

REFUSED = {
    "middleware": "servax runs no code that is named on its command line, and a middleware that "
    "was left out might have been what guards the server.",
    "trust-remote-code": "servax never runs code from a model's folder. Models of the supported "
    "architectures need none; for others there is no way to turn it on.",
    "calculate-kv-scales": "scales guessed from the first prompt would give the same request "
    "other bytes after every start. Scales come from the checkpoint.",
}
"""Flags that cannot be accepted even with a warning, and why."""
