"""From a model's name to a runner that has run a real step.

files ─► resolve ─► memory plan ─► compile the first step ┐
                                 └ load the weights (thread) ┴► one real step ─► ready
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

import jax

from engine.config import (
    SMALLEST_BUCKET,
    DeviceFacts,
    EngineConfig,
    ResolvedConfig,
    SchedulerConfig,
    resolve,
)
from engine.errors import ModelFormatError
from engine.request import ModelInfo
from engine.runner.arguments import StepProgram, make_program
from engine.runner.buckets import Variant, all_buckets
from engine.runner.compile import CompilationCounter, use_compile_cache
from engine.runner.device_memory import DeviceMemory
from engine.runner.devices import device_facts
from engine.runner.executables import compile_sampler, compile_step
from engine.runner.kv_scales import with_scales
from engine.runner.memory import estimated_temporary_bytes, plan_pages
from engine.runner.model_files import ModelFiles, read_model_files
from engine.runner.runner import Runner
from engine.sharding.mesh import make_mesh, verify_divisible
from engine.weights.checkpoint import Checkpoint, open_checkpoint
from engine.weights.fingerprint import model_fingerprint
from engine.weights.loader import (
    checkpoint_source,
    dummy_source,
    load_weights,
    verify_weights,
)

_logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
"""Told (phase, done, total) as the start goes on; from several threads."""


class ReadyRunner(NamedTuple):
    """A runner that has run a step, what the scheduler and the API must know of it, and how its
    memory is freed for a while."""

    runner: Runner
    scheduler_config: SchedulerConfig
    info: ModelInfo
    memory: DeviceMemory


def make_runner(
    config: EngineConfig, report: Report = lambda phase, done, total: None
) -> ReadyRunner:
    """Everything from a model's name to readiness. `Runner.warm_up` compiles the rest.

    Raises:
        SetupError: the operator must change something; one sentence says what.
    """
    files = read_model_files(config)
    checkpoint = None
    if config.load_format != "dummy":
        checkpoint = open_checkpoint(files.folder).renamed(files.tensor_prefixes)
    files = with_scales(files, checkpoint, config)
    if checkpoint is not None:
        verify_weights(checkpoint, files.rules)
    use_compile_cache(config.compile_cache_dir)
    devices = jax.devices()
    facts = device_facts(devices)
    resolved = resolve(config, files.decoder, facts)
    mesh = make_mesh(
        devices,
        data_parallel_size=resolved.data_parallel_size,
        tensor_parallel_size=resolved.tensor_parallel_size,
    )
    verify_divisible(files.decoder, mesh, resolved.max_num_seqs)
    counter = CompilationCounter()
    program = make_program(files.decoder, resolved, mesh, files.rules)
    for choice in (program.attention, program.threshold):
        if choice.fallback is not None:
            _logger.warning("%s", choice.fallback)
    num_pages = plan_pages(
        files.decoder,
        resolved,
        kind=program.attention.kind,
        weight_bytes=program.weight_bytes(),
        temporary_bytes=_temporary_bytes(program),
    )
    weights = _LoadingWeights(program, checkpoint, config.seed, report)
    runner = Runner(
        program, num_pages=num_pages, eos_token_ids=files.eos_token_ids, counter=counter
    )
    runner.compile_first()
    report("compiling steps", 1, runner.num_planned_steps)
    runner.use_weights(weights.result())
    runner.prove_life()
    counter.start()
    return ReadyRunner(
        runner,
        _scheduler_config(config, resolved, num_pages),
        _model_info(files, checkpoint, facts, runner, config),
        DeviceMemory(runner, lambda: _load_again(program, files, checkpoint, config)),
    )


def _load_again(
    program: StepProgram, files: ModelFiles, checkpoint: Checkpoint | None, config: EngineConfig
) -> list[jax.Array]:
    """The weights from the checkpoint, whose files may hold other values than before.

    Raises:
        ModelFormatError: they cannot be read, or their shapes or number have changed.
    """
    again = None if checkpoint is None else open_checkpoint(files.folder)
    if again is not None and checkpoint is not None and again.files != checkpoint.files:
        raise ModelFormatError(
            f"{files.folder.path}: the weight files are not those that were loaded at the start."
        )
    return _LoadingWeights(program, again, config.seed, lambda phase, done, total: None).result()


class _LoadingWeights:
    """Weights on their way to the device, in a thread beside the first compilation."""

    def __init__(
        self, program: StepProgram, checkpoint: Checkpoint | None, seed: int, report: Report
    ) -> None:
        self._leaves: list[jax.Array] = []
        self._error: BaseException | None = None
        config = program.config
        source = (
            dummy_source(config.dtype, seed, config.weight_dtype)
            if checkpoint is None
            else checkpoint_source(
                checkpoint, config.dtype, config.tensor_parallel_size, config.weight_dtype
            )
        )

        def load() -> None:
            try:
                self._leaves = load_weights(
                    source,
                    program.placements,
                    lambda done, total: report("loading weights", done, total),
                )
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=load, name="load-weights", daemon=True)
        self._thread.start()

    def result(self) -> list[jax.Array]:
        """Wait for the last one. Raises what reading them raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._leaves


def _temporary_bytes(program: StepProgram) -> int:
    """Scratch memory of the largest step: measured on an accelerator, estimated on a CPU.

    It does not depend on the size of the pool, so a pool of a few pages will do to measure it.
    """
    config = program.config
    if config.platform == "cpu":
        return estimated_temporary_bytes(program.decoder, config) + program.embeds_bytes()
    largest = max(bucket for bucket in all_buckets(config) if bucket.variant is Variant.FULL)
    # The sampler runs after the forward pass, while the next one may have begun.
    forward_bytes = compile_step(program, largest, num_pages=SMALLEST_BUCKET).temporary_bytes
    sampler_bytes = compile_sampler(program, largest).temporary_bytes
    return forward_bytes + sampler_bytes + program.embeds_bytes()


def _scheduler_config(
    config: EngineConfig, resolved: ResolvedConfig, num_pages: int
) -> SchedulerConfig:
    return SchedulerConfig(
        num_pages=num_pages,
        page_size=resolved.page_size,
        max_num_seqs=resolved.max_num_seqs,
        max_num_batched_tokens=resolved.max_num_batched_tokens,
        prefill_chunk_tokens=resolved.prefill_chunk_tokens,
        max_model_len=resolved.max_model_len,
        max_num_queued_requests=resolved.max_num_queued_requests,
        # Data shards have pools of their own: a page computed on one is unknown to the others.
        enable_prefix_caching=config.enable_prefix_caching and resolved.data_parallel_size == 1,
        use_priority=config.scheduling_policy == "priority",
        prompt_logprobs_chunk_tokens=resolved.prompt_logprobs_chunk_tokens,
        check_invariants=config.check_invariants,
    )


def _model_info(
    files: ModelFiles,
    checkpoint: Checkpoint | None,
    facts: DeviceFacts,
    runner: Runner,
    config: EngineConfig,
) -> ModelInfo:
    resolved, program = runner.program.config, runner.program
    versions = (
        _version(),
        jax.__version__,
        facts.platform,
        facts.device_kind,
        resolved.dtype,
        f"kv-{resolved.kv_dtype}",
        f"tp{resolved.tensor_parallel_size}",
        "" if checkpoint else f"dummy-{config.seed}",
    )
    return ModelInfo(
        architecture=files.decoder.architecture,
        vocab_size=files.decoder.vocab_size,
        max_model_len=resolved.max_model_len,
        eos_token_ids=files.eos_token_ids,
        max_logprobs=program.model.num_alternatives,
        max_num_seqs=resolved.max_num_seqs,
        fingerprint=model_fingerprint(
            versions=versions,
            config_json=files.config_json,
            weight_files=checkpoint.files if checkpoint else (),
        ),
        dtype=resolved.dtype,
        platform=facts.platform,
        device_kind=facts.device_kind,
        num_parameters=program.num_parameters(),
        weight_bytes=program.weight_bytes() * resolved.tensor_parallel_size,
        num_pages=runner.num_pages,
        page_size=resolved.page_size,
        kv_dtype=resolved.kv_dtype,
        has_priority_scheduling=config.scheduling_policy == "priority",
        prompt_embeds_width=files.decoder.d_model if config.enable_prompt_embeds else 0,
    )


def _version() -> str:
    try:
        return importlib.metadata.version("servax")
    except importlib.metadata.PackageNotFoundError:
        return "uninstalled"
