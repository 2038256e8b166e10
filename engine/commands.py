"""What an operator can tell a running engine, and what is suspended in it.

    RUNNING ── Pause, Sleep(0) ──► paused ── Sleep(1 | 2), ReleasePages ──► asleep
       ▲ ───────── Resume ──────────┘                                        │
       └───────────────────────────── WakeUp ────────────────────────────────┘

Paused: nothing new is launched. Asleep: the device also lacks pages, or weights and pages.
"""

from __future__ import annotations

import enum

import msgspec


class PauseMode(enum.StrEnum):
    """What becomes of requests when generation pauses."""

    ABORT = "abort"
    """They end with `FinishReason.ABORT`, and new ones are refused."""
    WAIT = "wait"
    """They run to their end first; new ones are refused at once."""
    KEEP = "keep"
    """They stand still and go on after; new ones queue behind them."""


class WakeTag(enum.StrEnum):
    """What can be woken by itself."""

    WEIGHTS = "weights"
    KV_CACHE = "kv_cache"
    SCHEDULING = "scheduling"


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """What does not go on in an engine. Written by `engine.controller` alone.

    Attributes:
        mode: how generation was paused; None while it goes on.
        sleep_level: of the weights: 0 = on the device, 1 = on the host, 2 = nowhere.
        has_pages: the device has KV pages and slot state.
    """

    mode: PauseMode | None = None
    sleep_level: int = 0
    has_pages: bool = True

    @property
    def is_paused(self) -> bool:
        """Whether generation stands still, or is about to."""
        return self.mode is not None

    @property
    def is_device_whole(self) -> bool:
        """Whether the device has all that a step needs."""
        return self.has_pages and self.sleep_level == 0

    @property
    def is_refusing(self) -> bool:
        """Whether new requests are refused instead of queued."""
        return self.mode in (PauseMode.ABORT, PauseMode.WAIT)


class Pause(msgspec.Struct, frozen=True, tag=True):
    """Stop generating. Carried out when what `mode` says of running requests has happened.

    Attributes:
        clear_cache: forget cached prefixes too; not with `PauseMode.KEEP`.
    """

    mode: PauseMode = PauseMode.ABORT
    clear_cache: bool = True


class Resume(msgspec.Struct, frozen=True, tag=True):
    """Generate again. Refused while the device is not whole."""


class Sleep(msgspec.Struct, frozen=True, tag=True):
    """Pause, then free the device.

    Attributes:
        level: 0 = only pause; 1 = weights move to host memory, pages are dropped; 2 = both are
            dropped, and the weights are read from the checkpoint again.
    """

    level: int = 1
    mode: PauseMode = PauseMode.ABORT


class WakeUp(msgspec.Struct, frozen=True, tag=True):
    """Bring back what is missing, or only what `tags` name; generate again when nothing is."""

    tags: tuple[WakeTag, ...] = ()


class ReleasePages(msgspec.Struct, frozen=True, tag=True):
    """Drop the KV pages of a paused engine."""


class ResetPrefixCache(msgspec.Struct, frozen=True, tag=True):
    """Forget cached pages. Answered by 1, or by 0 when running sequences still hold some.

    Attributes:
        includes_running: preempt those first; they are computed anew, to the same bytes.
    """

    includes_running: bool = False


class EndRequests(msgspec.Struct, frozen=True, tag=True):
    """End these requests, of whichever client, with `FinishReason.ABORT`; all when empty.

    Answered by how many there were.

    Attributes:
        names: engine request ids, or what clients know them by (`GenerateRequest.names`).
    """

    names: tuple[str, ...] = ()


class StartProfile(msgspec.Struct, frozen=True, tag=True):
    """Begin a trace in the configured folder."""


class StopProfile(msgspec.Struct, frozen=True, tag=True):
    """End the trace and write it."""


def commands_towards(suspension: Suspension) -> tuple[Command, ...]:
    """What brings a fresh engine to where an earlier one was."""
    if suspension.mode is None:
        return ()
    if suspension.sleep_level:
        return (Sleep(suspension.sleep_level, suspension.mode),)
    pause = Pause(suspension.mode)
    return (pause,) if suspension.has_pages else (pause, ReleasePages())


Command = (
    Pause
    | Resume
    | Sleep
    | WakeUp
    | ReleasePages
    | ResetPrefixCache
    | EndRequests
    | StartProfile
    | StopProfile
)
