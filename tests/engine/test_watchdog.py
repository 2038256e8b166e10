from __future__ import annotations

from engine.watchdog import RestartPolicy, Restarts, Watchdog


def test_an_engine_is_given_no_work_after_half_the_timeout():
    watchdog = Watchdog(tick_s=1.0, timeout_s=10.0)
    for _ in range(5):
        watchdog.tick()
    assert watchdog.is_fresh
    watchdog.tick()
    assert not watchdog.is_fresh
    assert not watchdog.is_frozen


def test_an_engine_is_frozen_after_the_whole_timeout():
    watchdog = Watchdog(tick_s=1.0, timeout_s=10.0)
    for _ in range(10):
        watchdog.tick()
    assert watchdog.is_frozen


def test_a_sign_of_life_starts_the_count_anew():
    watchdog = Watchdog(tick_s=1.0, timeout_s=10.0)
    for _ in range(9):
        watchdog.tick()
    watchdog.heard()
    watchdog.tick()
    assert watchdog.is_fresh


def test_waits_between_restarts_double_up_to_a_limit():
    restarts = Restarts(RestartPolicy(max_restarts=100, first_delay_s=1.0, max_delay_s=5.0))
    assert [restarts.next_delay_s(0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_there_is_an_end_to_restarting():
    restarts = Restarts(RestartPolicy(max_restarts=2))
    assert restarts.next_delay_s(0.0) is not None
    assert restarts.next_delay_s(1.0) is not None
    assert restarts.next_delay_s(2.0) is None
    assert restarts.num_restarts == 2


def test_old_restarts_are_forgiven():
    restarts = Restarts(RestartPolicy(max_restarts=1, window_s=10.0))
    restarts.next_delay_s(0.0)
    assert restarts.next_delay_s(11.0) is not None


def test_endless_restarts_do_not_overflow():
    restarts = Restarts(RestartPolicy(max_restarts=10**6, max_delay_s=1.0))
    assert {restarts.next_delay_s(0.0) for _ in range(2000)} <= {0.25, 0.5, 1.0}
