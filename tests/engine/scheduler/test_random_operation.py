"""Whatever happens in whatever order, every invariant holds and every request ends as it should."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from engine.errors import ContextLengthError, OverloadedError
from engine.request import ErrorInfo, FinishReason
from engine.scheduler.plan import StepLimits

PREFIX = (1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6)

prompts = st.builds(
    lambda shared, own: (*PREFIX[:shared], *own),
    st.integers(0, len(PREFIX)),
    st.lists(st.integers(0, 6), min_size=1, max_size=12),
)
samplings = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(0, 14),
        "ignore_eos": st.booleans(),
        "min_tokens": st.integers(0, 3),
        "stop_token_ids": st.sampled_from([(), (3,), (7, 5)]),
        "prompt_logprobs": st.sampled_from([None, None, 0]),
        "bad_words_token_ids": st.sampled_from([(), (), ((3,),), ((3, 4),)]),
    }
)


def machine(make_world: Any) -> type[RuleBasedStateMachine]:
    class Operation(RuleBasedStateMachine):
        @initialize(
            page_size=st.sampled_from([1, 2, 4]),
            num_tokens_held=st.sampled_from([28, 40, 80]),
            max_num_seqs=st.sampled_from([1, 2, 3, 4, 6, 16]),
            depth=st.integers(1, 3),
            budget=st.sampled_from([1, 3, 8, 32]),
            chunk=st.sampled_from([1, 2, 5, 64]),
            scoring_chunk=st.sampled_from([1, 4, 64]),
            is_caching=st.booleans(),
            use_priority=st.booleans(),
            has_prompt_logprobs=st.booleans(),
        )
        def begin(
            self, page_size, num_tokens_held, max_num_seqs, depth, budget, chunk, scoring_chunk,
            is_caching, use_priority, has_prompt_logprobs,
        ):  # fmt: skip
            self.world = make_world(
                page_size=page_size,
                num_pages=1 + num_tokens_held // page_size,
                max_num_seqs=max_num_seqs,
                depth=depth,
                max_num_batched_tokens=budget,
                prefill_chunk_tokens=chunk,
                prompt_logprobs_chunk_tokens=scoring_chunk,
                max_model_len=32,
                max_num_queued_requests=8,
                enable_prefix_caching=is_caching,
                use_priority=use_priority,
            )
            self.world.limits = StepLimits(2, 4, has_prompt_logprobs)
            self.num_added = 0
            self.gone: set[tuple[str, int]] = set()

        @rule(
            prompt=prompts,
            n=st.integers(1, 3),
            priority=st.integers(-1, 1),
            salt=st.sampled_from(["", "", "other"]),
            tenant=st.sampled_from(["", "", "one", "two"]),
            can_wait=st.sampled_from([False, False, True]),
            sampling=samplings,
            invalid_at=st.sampled_from([None, None, None, 0, 2]),
        )
        def add(self, prompt, n, priority, salt, tenant, can_wait, sampling, invalid_at):
            request_id = f"request-{self.num_added}"
            try:
                self.world.add(
                    request_id,
                    prompt,
                    n=n,
                    priority=priority,
                    salt=salt,
                    tenant=tenant,
                    can_wait=can_wait,
                    **sampling,
                )
            except (OverloadedError, ContextLengthError):
                return
            self.num_added += 1
            if invalid_at is not None:
                self.world.device.invalid.add((request_id, invalid_at))

        @rule(choice=st.integers(0, 30), sequence_indices=st.sampled_from([(), (0,), (1,), (0, 2)]))
        def abort(self, choice, sequence_indices):
            request_id = f"request-{choice}"
            self.world.scheduler.abort(request_id, sequence_indices)
            self.world.scheduler.check()
            self.gone |= {
                key
                for key in self.world.streams
                if key[0] == request_id and (not sequence_indices or key[1] in sequence_indices)
            }

        @rule(num_steps=st.integers(1, 5))
        def step(self, num_steps):
            for _ in range(num_steps):
                self.world.step()

        @rule()
        def settle_all(self):
            while self.world.in_flight:
                self.world.settle()

        @rule()
        def fail_oldest_step(self):
            if self.world.in_flight:
                for delta in self.world.fail(ErrorInfo("SequenceError", "the step failed")):
                    assert delta.finish_reason is FinishReason.ERROR

        @rule(rows=st.integers(0, 2), tokens=st.integers(0, 9), scoring=st.booleans())
        def limits_grow(self, rows, tokens, scoring):
            limits = self.world.limits
            self.world.limits = StepLimits(
                limits.max_rows + rows,
                limits.max_tokens + tokens,
                limits.has_prompt_logprobs or scoring,
            )

        @rule()
        def reset_prefix_cache(self):
            self.world.scheduler.reset_prefix_cache()
            self.world.scheduler.check()

        def teardown(self):
            if not hasattr(self, "world"):
                return
            world = self.world
            world.limits = StepLimits(world.limits.max_rows, world.limits.max_tokens, True)
            world.run()
            stats = world.scheduler.stats()
            assert stats.num_free_pages == stats.num_pages
            assert stats.total_generated_tokens == sum(
                len(stream.token_ids) for stream in world.streams.values()
            )
            for key, stream in world.streams.items():
                self.verify(key, stream)

        def verify(self, key, stream):
            output, _, _ = self.world.expected_output(self.world.requests[key[0]], key[1], 32)
            reasons = [delta.finish_reason for delta in stream.deltas if delta.finish_reason]
            if key in self.gone and not reasons:
                assert stream.token_ids == output[: len(stream.token_ids)]
                return
            assert len(reasons) == 1
            if reasons == [FinishReason.ERROR]:
                assert stream.token_ids == output[: len(stream.token_ids)]
            else:
                self.world.verify_stream(*key)

    return Operation


def test_any_operation_keeps_pages_apart_and_ends_every_request(make_world: Any) -> None:
    run_state_machine_as_test(
        machine(make_world),
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_much_more_random_operation(make_world: Any) -> None:
    run_state_machine_as_test(
        machine(make_world),
        settings=settings(
            max_examples=500,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
