"""`servax serve`: bind, answer health checks at once, load, serve, drain, exit.

The socket listens before the model is loaded; until then requests get 503 with retry-after. The
engine process starts first, the tokenizer loads in a thread meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets
from quart import Quart

from api.access_life import access_of
from api.app import create_app, make_state
from api.context import ServerContext, ServerState
from api.http.http1 import install, make_config
from api.lifecycle import Lifecycle
from api.metrics.stats_log import logging_stats
from api.model.names import model_names
from api.settings import ServerSettings
from api.storage_life import storage_of, verify_storage
from api.workers.crew import Crew
from engine.client_protocol import GenerationEngine
from engine.config import EngineConfig
from engine.errors import EngineError, SetupError
from engine.weights.source import verify_model_is_there

if TYPE_CHECKING:
    from api.model.text import ModelText
    from engine.request import ModelInfo

EXIT_OK = 0
EXIT_FAILURE = 1

log = logging.getLogger("servax")


class OwnedEngine(GenerationEngine, Protocol):
    """An engine this process started, as `engine.client.EngineClient`."""

    async def wait_ready(self) -> ModelInfo:
        """Wait until requests can be taken. Raises SetupError or EngineDiedError."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


StartEngine = Callable[[EngineConfig], Awaitable[OwnedEngine]]
LoadText = Callable[[ServerSettings, EngineConfig], "ModelText"]
MakeApp = Callable[[ServerState], Quart]


async def start_engine_process(config: EngineConfig) -> OwnedEngine:
    """The engine of real servers: a process of its own."""
    from engine.client import EngineClient

    return await EngineClient.start(config)


def load_text_of_folder(settings: ServerSettings, config: EngineConfig) -> ModelText:
    """The text side of real models; imported late, so that listening does not wait for it."""
    from api.model.text import load_model_text

    return load_model_text(settings, config)


def run(settings: ServerSettings, config: EngineConfig) -> int:
    """Serve until a signal; the process's exit code."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Server(settings, config, when_loaded=keep_what_is_loaded).serve())


def keep_what_is_loaded() -> None:
    """What is loaded stays until the end. The collector need not look at it again and again: with a
    tokenizer's vocabulary that stops every request for tenths of a second."""
    gc.collect()
    gc.freeze()


class Server:
    """One server process's life. What it is made of can be replaced, for tests."""

    def __init__(
        self,
        settings: ServerSettings,
        config: EngineConfig,
        start_engine: StartEngine = start_engine_process,
        load_text: LoadText = load_text_of_folder,
        make_app: MakeApp = create_app,
        *,
        when_loaded: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings = settings
        self._config = config
        self._start_engine = start_engine
        self._load_text = load_text
        self._make_app = make_app
        self._when_loaded = when_loaded
        self._started_s = time.monotonic()
        self._engine: OwnedEngine | None = None
        self._setup_error: str | None = None

    async def serve(self) -> int:
        """Serve until a signal or a set-up error; the exit code."""
        state = make_state(self._settings, model_names(self._settings, self._config)[0])
        state.config = self._config
        crew = Crew(state)
        lifecycle = Lifecycle(state.admission, self._settings.shutdown_timeout_s, crew.hand_over)
        hypercorn_config = make_config(self._settings)
        try:
            verify_model_is_there(self._config.model)
            verify_tls(hypercorn_config, self._settings)
            verify_storage(self._settings)
        except SetupError as error:
            log.error("%s", error)
            return EXIT_FAILURE
        try:
            sockets = bind(hypercorn_config, self._settings)
        except OSError as error:
            log.error("cannot listen on %s: %s", address(self._settings), error.strerror or error)
            return EXIT_FAILURE
        lifecycle.install_signal_handlers()
        async with storage_of(state), access_of(state):
            crew.hire()
            loading = asyncio.create_task(self._load(state, lifecycle))
            await self._listen(state, hypercorn_config, sockets, lifecycle, crew)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        if self._setup_error is not None:
            log.error("%s", self._setup_error)
            return EXIT_FAILURE
        return EXIT_OK

    async def _listen(
        self,
        state: ServerState,
        config: Config,
        sockets: Sockets,
        lifecycle: Lifecycle,
        crew: Crew,
    ) -> None:
        async def may_stop() -> None:
            await lifecycle.wait()
            await crew.dismiss()
            state.ending.set()
            await lifecycle.finish(self._close_engine)

        install()
        app = ASGIWrapper(self._make_app(state))
        log.info("listening on %s", bound_url(self._settings, sockets))
        try:
            await worker_serve(app, config, sockets=sockets, shutdown_trigger=may_stop)
        finally:
            await crew.dismiss()
            await self._close_engine()

    async def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    async def _load(self, state: ServerState, lifecycle: Lifecycle) -> None:
        """Make the server ready; a set-up error ends it."""
        try:
            self._engine = state.engine = await self._start_engine(self._config)
            context = await load_context(
                state, self._engine, self._settings, self._config, self._load_text
            )
        except EngineError as error:
            self._fail(state, lifecycle, str(error))
        except Exception as error:
            log.exception("loading failed")
            self._fail(state, lifecycle, f"Loading failed: {error}")
        else:
            if lifecycle.is_stopping:
                return
            state.metrics.attach_engine(context.engine, self._config)
            self._when_loaded()
            state.become_ready(context)
            log.info(
                "ready in %.1f s: model %s on %s",
                time.monotonic() - self._started_s,
                context.model_names[0],
                context.engine.info.device_kind,
            )
            async with logging_stats(self._settings, context.engine):
                await self._watch(state, self._engine, lifecycle)

    async def _watch(self, state: ServerState, engine: OwnedEngine, lifecycle: Lifecycle) -> None:
        """Notice when the engine is gone for good; `/health` says so."""
        while True:
            try:
                await engine.wait_ready()
                state.failure = None
            except EngineError as error:
                if lifecycle.is_stopping:
                    return
                if state.failure is None:
                    log.error("the engine is gone for good: %s", error)
                state.failure = str(error)
            await asyncio.sleep(1.0)

    def _fail(self, state: ServerState, lifecycle: Lifecycle, message: str) -> None:
        """End the server with an error, unless it is ending already and the engine with it."""
        if lifecycle.is_stopping:
            return
        self._setup_error = message
        state.failure = message
        lifecycle.stop_now()


async def load_context(
    state: ServerState,
    engine: OwnedEngine,
    settings: ServerSettings,
    config: EngineConfig,
    load_text: LoadText,
) -> ServerContext:
    """Load the text side while the engine starts; return when both are there.

    Raises:
        SetupError, EngineDiedError: one of them cannot be had.
    """
    loading = asyncio.to_thread(load_text, settings, config)
    text: ModelText
    text, _ = await asyncio.gather(loading, engine.wait_ready())
    return ServerContext(
        settings=settings,
        engine=engine,
        tokenizer=text.tokenizer,
        chat_template=text.chat_template,
        model_names=model_names(settings, config),
        default_sampling=text.default_sampling,
        metrics=state.metrics,
        model_root=text.root,
        created=int(time.time()),
        formats=text.formats,
        accounts=state.accounts,
        ending=state.ending,
    )


def bind(config: Config, settings: ServerSettings) -> Sockets:
    """Listening sockets. Raises OSError when the address cannot be had."""
    if settings.uds:
        config.bind = [f"unix:{settings.uds}"]
        config.umask = 0o077
    else:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        config.bind = [f"{host}:{settings.port}"]
    sockets = config.create_sockets()
    for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
        listening.listen(config.backlog)
    return sockets


def verify_tls(config: Config, settings: ServerSettings) -> None:
    """Raise SetupError unless the certificate, its key and the authorities can be used."""
    named = {
        "--ssl-certfile": settings.ssl_certfile,
        "--ssl-keyfile": settings.ssl_keyfile,
        "--ssl-ca-certs": settings.ssl_ca_certs,
    }
    if not settings.ssl_certfile and any(named.values()):
        raise SetupError("TLS needs a certificate: give --ssl-certfile too.")
    for flag, path in named.items():
        if path and not Path(path).is_file():
            raise SetupError(f"{flag} {path}: there is no such file.")
    try:
        config.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            f"--ssl-certfile {settings.ssl_certfile}: certificate and key cannot be used: {error}"
        ) from None


def address(settings: ServerSettings) -> str:
    """Where the server was told to listen."""
    return settings.uds or f"{settings.host}:{settings.port}"


def bound_url(settings: ServerSettings, sockets: Sockets) -> str:
    """The URL that clients on this machine can use."""
    if settings.uds:
        return f"unix:{settings.uds}"
    is_secure = bool(sockets.secure_sockets)
    listening = (sockets.secure_sockets or sockets.insecure_sockets)[0]
    host, port = listening.getsockname()[:2]
    with contextlib.suppress(KeyError):
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}[host]
    return f"http{'s' if is_secure else ''}://{host}:{port}{settings.root_path}/v1"
