from __future__ import annotations

from api.metrics.names import REQUEST_HISTOGRAMS
from api.metrics.registry import Metrics
from engine.commands import PauseMode, Suspension
from engine.config import EngineConfig
from engine.request import EngineStats, ErrorInfo, FinishReason, Timings, TokenDelta

LABELS = 'engine="0",model_name="m"'

DASHBOARD_NAMES = """
vllm:time_to_first_token_seconds_bucket vllm:inter_token_latency_seconds_sum
vllm:e2e_request_latency_seconds_count vllm:request_time_per_output_token_seconds_bucket
vllm:request_success_total vllm:generation_tokens_total vllm:prompt_tokens_total
vllm:request_prompt_tokens_bucket vllm:request_generation_tokens_bucket
vllm:request_queue_time_seconds_sum vllm:request_prefill_time_seconds_sum
vllm:request_decode_time_seconds_sum vllm:request_max_num_generation_tokens_sum
vllm:iteration_tokens_total_count vllm:num_requests_running vllm:num_requests_waiting
vllm:kv_cache_usage_perc vllm:num_requests_waiting_by_reason vllm:prefix_cache_queries_total
vllm:prefix_cache_hits_total vllm:num_preemptions_total vllm:admission_rejections_total
vllm:cache_config_info vllm:request_params_n_count vllm:request_params_max_tokens_count
vllm:request_inference_time_seconds_count vllm:request_num_preemptions_count
vllm:prompt_tokens_cached_total vllm:corrupted_requests_total
servax:compilations_after_ready servax:engine_restarts_total process_resident_memory_bytes
servax:engine_generated_tokens_total
vllm:engine_sleep_state vllm:prompt_tokens_by_source_total
vllm:prompt_tokens_cached_by_source_total vllm:mm_cache_queries_total vllm:mm_cache_hits_total
vllm:external_prefix_cache_queries_total vllm:external_prefix_cache_hits_total
vllm:sleep_mode_operation_duration_seconds_count vllm:sleep_mode_operations_in_flight
vllm:request_prefill_kv_computed_tokens_count process_cpu_seconds_total python_info
""".split()

DASHBOARD_LABELS = """
vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="awake"}
vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="weights_offloaded"}
vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="discard_all"}
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"}
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="deferred"}
vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"}
vllm:admission_rejections_total{model_name="m",reason="max_num_queued_tokens"}
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_compute"}
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_cache_hit"}
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="external_kv_transfer"}
vllm:prompt_tokens_cached_by_source_total{engine="0",model_name="m",source="device"}
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"}
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"}
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"}
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"}
vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"}
vllm:iteration_tokens_total_bucket{engine="0",le="16384.0",model_name="m"}
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="m"}
vllm:request_params_n_bucket{engine="0",le="20.0",model_name="m"}
vllm:time_to_first_token_seconds_bucket{engine="0",le="2560.0",model_name="m"}
""".split()


def samples(metrics: Metrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_every_name_that_dashboards_ask_for_is_there(scripted_engine):
    metrics = Metrics("m")
    metrics.attach_engine(scripted_engine(), EngineConfig())
    names = {name.partition("{")[0] for name in samples(metrics)}
    assert set(DASHBOARD_NAMES) <= names


def test_series_have_vllms_labels(scripted_engine):
    metrics = Metrics("m")
    metrics.attach_engine(scripted_engine(), EngineConfig())
    assert set(DASHBOARD_LABELS) <= set(samples(metrics))


def test_steps_are_counted_by_their_tokens(scripted_engine):
    metrics = Metrics("m")
    engine = scripted_engine()
    by_tokens = (2, 1, *[0] * 11, 1)
    engine.stats = EngineStats(
        total_steps=4, total_step_tokens=20_010, total_steps_by_tokens=by_tokens
    )
    metrics.attach_engine(engine, EngineConfig())
    found = samples(metrics)
    name = 'vllm:iteration_tokens_total_bucket{engine="0",le="%s",model_name="m"}'
    assert [found[name % bound] for bound in ("1.0", "8.0", "16384.0", "+Inf")] == [2, 3, 3, 4]
    assert found[f"vllm:iteration_tokens_total_count{{{LABELS}}}"] == 4
    assert found[f"vllm:iteration_tokens_total_sum{{{LABELS}}}"] == 20_010


def test_the_state_of_sleep_is_told(scripted_engine):
    metrics = Metrics("m")
    engine = scripted_engine()
    engine.suspension = Suspension(mode=PauseMode.KEEP, sleep_level=2, has_pages=False)
    metrics.attach_engine(engine, EngineConfig())
    name = 'vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="%s"}'
    found = samples(metrics)
    assert [found[name % s] for s in ("awake", "weights_offloaded", "discard_all")] == [0, 0, 1]


def test_old_dashboards_find_their_names_when_asked_for(scripted_engine):
    metrics = Metrics("m", shows_old_names=True)
    metrics.attach_engine(scripted_engine(), EngineConfig())
    found = samples(metrics)
    assert found[f"vllm:gpu_cache_usage_perc{{{LABELS}}}"] == 0.25
    assert f"vllm:time_per_output_token_seconds_count{{{LABELS}}}" in found
    assert "gpu_cache" not in Metrics("m").exposition().decode()


def test_a_whole_request_is_counted():
    metrics = Metrics("m")
    tracker = metrics.track(prompt_tokens=7, n=1, max_tokens=16)
    tracker.delta(TokenDelta(request_id="r", token_ids=(1,), num_cached_tokens=4), 1)
    tracker.delta(
        TokenDelta(
            request_id="r",
            token_ids=(2, 3),
            finish_reason=FinishReason.STOP,
            timings=Timings(10.0, 11.0, 13.0, 16.0),
            num_preemptions=1,
        ),
        2,
    )
    tracker.close()
    tracker.close()
    found = samples(metrics)
    assert (
        found['vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"}'] == 1
    )
    expected = {
        "time_to_first_token_seconds_count": 1,
        "inter_token_latency_seconds_count": 1,
        "request_time_per_output_token_seconds_count": 1,
        "e2e_request_latency_seconds_count": 1,
        "request_generation_tokens_sum": 3,
        "request_max_num_generation_tokens_sum": 3,
        "request_prompt_tokens_sum": 7,
        "request_prefill_kv_computed_tokens_sum": 3,
        "request_queue_time_seconds_sum": 1,
        "request_prefill_time_seconds_sum": 2,
        "request_decode_time_seconds_sum": 3,
        "request_inference_time_seconds_sum": 5,
        "request_num_preemptions_sum": 1,
        "request_params_n_sum": 1,
        "request_params_max_tokens_sum": 16,
    }
    for source, number in (("local_compute", 3), ("local_cache_hit", 4)):
        labels = f'{LABELS},source="{source}"'
        assert found[f"vllm:prompt_tokens_by_source_total{{{labels}}}"] == number
    for name, value in expected.items():
        assert found[f"vllm:{name}{{{LABELS}}}"] == value, name


def test_what_has_not_finished_at_the_end_was_aborted():
    metrics = Metrics("m")
    tracker = metrics.track(prompt_tokens=1, n=2, max_tokens=8)
    tracker.delta(TokenDelta(request_id="r", token_ids=(1,), finish_reason=FinishReason.LENGTH), 1)
    tracker.close()
    found = samples(metrics)
    success = "vllm:request_success_total"
    assert found[f'{success}{{engine="0",finished_reason="length",model_name="m"}}'] == 1
    assert found[f'{success}{{engine="0",finished_reason="abort",model_name="m"}}'] == 1


def test_a_stop_string_counts_as_stop_once():
    metrics = Metrics("m")
    tracker = metrics.track(prompt_tokens=1, n=1, max_tokens=8)
    cut = TokenDelta(request_id="r", token_ids=(1, 2), finish_reason=FinishReason.LENGTH)
    tracker.delta(cut, 1, is_stopped=True)
    tracker.delta(TokenDelta(request_id="r", token_ids=(1,), finish_reason=FinishReason.ABORT), 1)
    tracker.close()
    name = 'vllm:request_success_total{engine="0",finished_reason="%s",model_name="m"}'
    assert samples(metrics)[name % "stop"] == 1
    assert samples(metrics)[name % "abort"] == 0
    assert samples(metrics)[name % "length"] == 0
    assert samples(metrics)[f"vllm:generation_tokens_total{{{LABELS}}}"] == 1


def test_a_prompt_whose_answer_never_began_is_not_counted():
    metrics = Metrics("m")
    metrics.track(prompt_tokens=7, n=1, max_tokens=8).close()
    failed = metrics.track(prompt_tokens=7, n=1, max_tokens=8)
    failed.delta(
        TokenDelta(
            request_id="r",
            finish_reason=FinishReason.ERROR,
            error=ErrorInfo("SequenceError", "broken"),
        ),
        0,
    )
    failed.close()
    found = samples(metrics)
    assert found[f"vllm:prompt_tokens_total{{{LABELS}}}"] == 0
    assert found[f"vllm:request_prompt_tokens_count{{{LABELS}}}"] == 0


def test_gauges_follow_the_engine(scripted_engine):
    metrics = Metrics("m")
    engine = scripted_engine()
    engine.stats = EngineStats(num_running=3, num_waiting=2, num_pages=10, num_free_pages=4)
    metrics.attach_engine(engine, EngineConfig())
    found = samples(metrics)
    assert found[f"vllm:num_requests_running{{{LABELS}}}"] == 3
    assert found[f"vllm:num_requests_waiting{{{LABELS}}}"] == 2
    assert found[f"vllm:kv_cache_usage_perc{{{LABELS}}}"] == 0.6


def test_counters_are_of_all_engine_processes_and_gauges_of_the_present_one(scripted_engine):
    class RestartedEngine(scripted_engine):
        """Its predecessor had generated 150 tokens in 7 steps between two scrapes."""

        @property
        def total_stats(self):
            return EngineStats(
                total_generated_tokens=170, total_steps=9, total_steps_by_tokens=(9, *[0] * 13)
            )

    metrics = Metrics("m")
    engine = RestartedEngine()
    engine.stats = EngineStats(total_generated_tokens=20, total_steps=2, num_running=3)
    metrics.attach_engine(engine, EngineConfig())
    found = samples(metrics)
    assert found[f"servax:engine_generated_tokens_total{{{LABELS}}}"] == 170
    assert found[f"servax:engine_steps_total{{{LABELS}}}"] == 9
    assert found[f"vllm:iteration_tokens_total_count{{{LABELS}}}"] == 9
    assert found[f"vllm:num_requests_running{{{LABELS}}}"] == 3


def test_buckets_are_sorted_and_positive():
    for row in REQUEST_HISTOGRAMS:
        assert list(row.buckets) == sorted(set(row.buckets))
        assert row.buckets[0] > 0


async def test_http_exchanges_are_counted_by_route_and_not_by_path(make_world):
    world = make_world()
    client = world.app.test_client()
    for name in ("a", "b"):
        await client.get(f"/t/things/{name}")
    await client.get("/nowhere")
    await client.get("/health")
    await client.post("/t/json", json={}, headers={"content-length": "2"})
    found = samples(world.state.metrics)
    total = "http_requests_total"
    assert found[f'{total}{{handler="/t/things/<path:name>",method="GET",status="2xx"}}'] == 2
    assert found[f'{total}{{handler="none",method="GET",status="4xx"}}'] == 1
    assert not any("/health" in name for name in found)
    assert found['http_request_size_bytes_sum{handler="/t/json"}'] == 2


async def test_the_route_gives_the_text_format(make_world):
    response = await make_world().app.test_client().get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
