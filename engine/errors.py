"""Every exception the engine raises on purpose.

    EngineError
    ├── RequestError                 the request is at fault: the API answers 4xx
    │   ├── InvalidParameterError    a named field has a value that cannot be honoured
    │   └── ContextLengthError       prompt and requested output do not fit the model
    ├── OverloadedError              a bounded queue is full: 429 or 503 with retry-after
    ├── SuspendedError               the engine is paused or asleep: 503 with retry-after
    ├── ConflictError                an operator's command does not fit the engine's state: 409
    ├── SequenceError                one sequence failed on the device or in sampling
    ├── EngineDiedError              the engine process ended while the request was running
    └── SetupError                   the operator must change something; one sentence says what
        ├── ModelFormatError         the model folder or one of its files is not usable
        └── MemoryPlanError          weights, temporaries and pages cannot fit the device

All but `SetupError` travel between processes as `engine.request.ErrorInfo`, never as pickled
exceptions.
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of the tree. `str(error)` is fit to be shown to whoever can act on it."""


class RequestError(EngineError):
    """The request is at fault.

    Attributes:
        message: one sentence for the client, without internals.
        param: the field of the request, spelled as the client spelled it; None if no single one.
        code: OpenAI's machine-readable code, e.g. ``integer_below_min_value``.
    """

    def __init__(self, message: str, *, param: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class InvalidParameterError(RequestError):
    """A named field has a value that cannot be honoured."""

    def __init__(self, message: str, *, param: str, code: str = "invalid_value") -> None:
        super().__init__(message, param=param, code=code)


class ContextLengthError(RequestError):
    """Prompt plus requested output do not fit the model's context."""

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message, param=param, code="context_length_exceeded")


class OverloadedError(EngineError):
    """A bounded queue is full. `retry_after_s` is a hint in seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class SuspendedError(EngineError):
    """The engine is paused or asleep and refuses requests. `retry_after_s` is a hint in seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class ConflictError(EngineError):
    """The engine is not in a state in which it can do what an operator asked.

    Attributes:
        message: one sentence for the operator.
        code: machine-readable, e.g. ``profiler_active``.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class SequenceError(EngineError):
    """One sequence failed (a fault while computing it, or NaN logits); others are unaffected."""


class EngineDiedError(EngineError):
    """The engine process ended, or was ended by the watchdog, while the request was running."""


class SetupError(EngineError):
    """The operator must change something; `str(error)` is one sentence with the remedy."""


class ModelFormatError(SetupError):
    """The model folder or one of its files is not usable; the sentence names the file."""


class MemoryPlanError(SetupError):
    """Weights, temporaries and KV pages cannot fit; the sentence names the flag to lower."""
