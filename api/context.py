"""What a route may reach: the loaded server, and the state of the process around it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quart import current_app, g

from api.errors import engine_failed, shutting_down, unavailable
from api.keys.accounts import Accounts
from api.keys.tenant import ANYONE, Tenant
from api.model.formats import ModelFormats
from api.readiness import Readiness
from api.settings import ServerSettings
from engine.grammar.verify import GrammarVerifier

if TYPE_CHECKING:
    from api.keys.key_ring import KeyRing
    from api.limits import Admission
    from api.metrics.registry import Metrics
    from api.storage.store import Storage
    from api.workers.runner import JobRunner
    from engine.client_protocol import GenerationEngine
    from engine.config import EngineConfig
    from engine.text.chat_template import ChatTemplate
    from engine.text.tokenizer import Tokenizer


Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerContext:
    """A server that has its model: what routes of models and generation work with.

    Attributes:
        chat_template: None when the model has no template and none was given.
        model_names: names clients may use; the first is the one answers carry.
        default_sampling: defaults from generation_config.json and the operator's overrides.
        formats: how the model writes calls and thoughts.
        model_root: what `/v1/models` gives as `root`.
        created: Unix time of start, in seconds.
        grammars: verifies grammars and remembers what it found.
        accounts: where what a request used is counted.
        tenant: whom the work is done for: the caller in a request, set anew for work later on
            (`for_tenant`).
        can_wait: the work is a batch's: the engine does it when nobody else wants it.
        ending: set when the server ends and whoever is left must go.
        request_id: of the HTTP request whose answer waits for the work; "" when none does.
    """

    settings: ServerSettings
    engine: GenerationEngine
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    model_names: tuple[str, ...]
    default_sampling: dict[str, Any]
    metrics: Metrics
    model_root: str
    created: int
    formats: ModelFormats = dataclasses.field(default_factory=ModelFormats)
    grammars: GrammarVerifier = dataclasses.field(default_factory=GrammarVerifier)
    tenant: Tenant = ANYONE
    accounts: Accounts = dataclasses.field(default_factory=Accounts)
    can_wait: bool = False
    ending: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    request_id: str = ""

    def for_tenant(self, tenant: Tenant) -> ServerContext:
        """The same server, working for `tenant`."""
        return dataclasses.replace(self, tenant=tenant)

    async def unless_ending(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for something other than the engine, which ends what waits for it.

        Raises:
            APIError: 503, the server ends meanwhile; `work` is cancelled.
        """
        working = asyncio.create_task(work)
        tasks = (working, asyncio.create_task(self.ending.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise shutting_down(self.settings.shutdown_timeout_s)


@dataclasses.dataclass(kw_only=True)
class ServerState:
    """The process around the context, from bind to exit.

    Attributes:
        keys: who may call; kept in step with the database by `api.access_life`.
        accounts: limits and usage of keys.
        engine: set as soon as the engine process runs, long before it is ready; written by
            `api.serve`, None before.
        context: set when engine, tokenizer and template are all there; None while loading.
        config: the engine's choices; None in tests without an engine process.
        storage: what outlives the process; None until it is open, and where there is none.
        storage_opened: set when `storage` is.
        loaded: set when `context` is for the first time.
        jobs: runs work that outlives its request; None until storage and model are there.
        ending: the same as the context's.
        failure: why the engine could not start or is gone for good; None while it may still come.
    """

    settings: ServerSettings
    metrics: Metrics
    admission: Admission
    keys: KeyRing
    accounts: Accounts
    engine: GenerationEngine | None = None
    context: ServerContext | None = None
    storage: Storage | None = None
    storage_opened: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    loaded: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    jobs: JobRunner | None = None
    ending: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    failure: str | None = None
    config: EngineConfig | None = None
    readiness: Readiness = dataclasses.field(default_factory=Readiness)

    def become_ready(self, context: ServerContext) -> None:
        """Take requests from now on."""
        self.engine = context.engine
        self.context = context
        self.admission.max_num_running = context.engine.info.max_num_seqs
        self.loaded.set()

    def take_storage(self, storage: Storage) -> None:
        """Routes and workers can use it from now on."""
        self.storage = storage
        self.storage_opened.set()

    def wake_jobs(self) -> None:
        """There is a new job. Workers find it without this too, a moment later."""
        if self.jobs is not None:
            self.jobs.wake()


EXTENSION = "servax"


def server_state() -> ServerState:
    """The state of the application that handles the current request."""
    return cast(ServerState, current_app.extensions[EXTENSION])


def caller() -> Tenant:
    """Who makes the current request (or opened the current WebSocket)."""
    return cast(Tenant, g.tenant)


def context() -> ServerContext:
    """The loaded server, working for the caller.

    Raises:
        APIError: 503, as `loaded_context`.
    """
    return dataclasses.replace(loaded_context(), tenant=caller(), request_id=g.request_id)


def loaded_context() -> ServerContext:
    """The loaded server, working for nobody in particular.

    Raises:
        APIError: 503, with retry-after while the model is loading, without when the engine is gone
            for good.
    """
    state = server_state()
    if state.failure is not None:
        raise engine_failed()
    loaded = state.context
    if loaded is None:
        raise unavailable("The model is still loading.", "model_loading", retry_after_s=2.0)
    return loaded


def storage() -> Storage:
    """The storage of the application that handles the current request.

    Raises:
        StorageError: 503, it is not open.
    """
    from api.storage.errors import StorageError

    opened = server_state().storage
    if opened is None:
        raise StorageError
    return opened
