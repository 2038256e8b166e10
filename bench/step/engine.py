"""The engine's own runner with dummy weights and full pages, for one model. Imports jax.

Only the buckets that are measured get compiled. Packing, launching and the executables are the
runner's; scheduler and pages are replaced by plans written here.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence as Items

import jax
import jax.numpy as jnp
import numpy as np

from bench.step.loads import StepLoad
from bench.step.models import write_folder
from engine.config import EngineConfig, resolve
from engine.request import GenerateRequest, SamplingParams
from engine.runner.arguments import make_program
from engine.runner.buckets import Bucket, Demand, Variant, pick
from engine.runner.compile import CompilationCounter
from engine.runner.devices import device_facts
from engine.runner.model_files import ModelFiles, read_model_files
from engine.runner.runner import Runner
from engine.scheduler.plan import PlannedRow, StepPlan
from engine.sequence import Sequence
from engine.sharding.mesh import make_mesh
from engine.weights.loader import dummy_source, load_weights


class MeasuredRunner(Runner):
    """A runner that compiles what it is asked to, on pages of random numbers."""

    def prepare(self, demand: Demand) -> Bucket:
        """Compile the bucket that the engine would take once all are compiled."""
        bucket = pick(self.buckets, demand)
        if bucket not in self._executables:
            self.compile_programs(bucket)
        return bucket

    def fill_pages(self) -> None:
        """Random keys and values everywhere: zeros would be faster than what people send."""
        dtype = self.program.config.dtype
        for index, layer in enumerate(self._kv):
            leaves, tree = jax.tree.flatten(layer)
            key = jax.random.key(index)
            filled = [_FILL(leaf, key, dtype) for leaf in leaves]
            self._kv[index] = jax.tree.unflatten(tree, filled)


def make_engine(model: str, loads: Items[StepLoad]) -> tuple[MeasuredRunner, ModelFiles]:
    """A runner with room for each of the loads."""
    folder = write_folder(model, pathlib.Path(tempfile.mkdtemp(prefix="servax-bench-")))
    files = read_model_files(EngineConfig(model=str(folder)))
    devices = jax.devices()[:1]
    most_rows = max(load.num_rows for load in loads)
    options = EngineConfig(
        model=str(folder),
        load_format="dummy",
        max_model_len=min(
            files.decoder.max_position_embeddings, max(load.length for load in loads) + 1
        ),
        max_num_seqs=most_rows,
        max_num_batched_tokens=max(most_rows, *(load.num_rows * load.num_new for load in loads)),
    )
    config = resolve(options, files.decoder, device_facts(devices))
    mesh = make_mesh(devices, data_parallel_size=1, tensor_parallel_size=1)
    program = make_program(files.decoder, config, mesh, files.rules)
    pages = max(load.num_rows * -(-load.length // config.page_size) for load in loads)
    counter = CompilationCounter()
    runner = MeasuredRunner(program, num_pages=pages + 1, eos_token_ids=(), counter=counter)
    runner.fill_pages()
    source = dummy_source(config.dtype, 0, config.weight_dtype)
    runner.use_weights(load_weights(source, program.placements))
    return runner, files


def make_plans(runner: MeasuredRunner, load: StepLoad) -> tuple[StepPlan, StepPlan]:
    """The load as a plan that takes the slots, and as one that finds them taken."""
    config = runner.program.config
    pages_each = -(-load.length // config.page_size)
    table = np.zeros((config.max_num_seqs + 1, runner.program.max_pages), np.int32)
    order = np.random.default_rng(0).permutation(np.arange(1, load.num_rows * pages_each + 1))
    page_rows = order.reshape(load.num_rows, pages_each).astype(np.int32)
    table[: load.num_rows, :pages_each] = page_rows
    sequences = [
        _sequence(index, load, runner.program.decoder.vocab_size) for index in range(load.num_rows)
    ]

    def plan(index: int, is_new_slot: bool) -> StepPlan:
        rows = [
            PlannedRow(
                sequence=sequence,
                slot_index=slot,
                start=load.context,
                num_new_tokens=load.num_new,
                is_sampling=True,
                is_new_slot=is_new_slot,
                uses_pending_token=load.num_new == 1 and not is_new_slot,
                page_ids=page_rows[slot].tolist(),
                num_pages=pages_each,
            )
            for slot, sequence in enumerate(sequences)
        ]
        return StepPlan(index, tuple(rows), table)

    return plan(0, True), plan(1, False)


def demand_of(load: StepLoad) -> Demand:
    """What the load needs of a bucket."""
    variant = Variant.FULL if load.is_sampled else Variant.GREEDY
    num_tokens = load.num_rows * load.num_new
    return Demand(num_tokens, load.num_rows, variant, is_decode=load.num_new == 1)


def _sequence(index: int, load: StepLoad, vocab_size: int) -> Sequence:
    random = np.random.default_rng(index)
    prompt = random.integers(0, vocab_size, load.length).tolist()
    sampling = SamplingParams(max_tokens=1_000_000, temperature=0.0, ignore_eos=True)
    if load.is_sampled:
        sampling = SamplingParams(
            max_tokens=1_000_000, temperature=0.8, top_p=0.9, seed=index + 1, ignore_eos=True
        )
    request = GenerateRequest(
        request_id=f"bench-{index}", prompt_token_ids=tuple(prompt), sampling=sampling
    )
    return Sequence.from_request(request, 0)


def _random_like(pages: jax.Array, key: jax.Array, dtype: str) -> jax.Array:
    """Random numbers in the form pages keep them: floats, their bits, or pairs of their bits."""
    if jnp.issubdtype(pages.dtype, jnp.floating):
        return jax.random.normal(key, pages.shape, jnp.float32).astype(pages.dtype)
    parts = pages.dtype.itemsize // jnp.dtype(dtype).itemsize
    if parts < 1:
        return jax.random.randint(key, pages.shape, -100, 100, jnp.int32).astype(pages.dtype)
    shape = pages.shape if parts == 1 else (*pages.shape, parts)
    values = jax.random.normal(key, shape, jnp.float32).astype(dtype)
    return jax.lax.bitcast_convert_type(values, pages.dtype)


_FILL = jax.jit(_random_like, static_argnums=2, donate_argnums=0)
