"""The parts a server is made of, put together once and kept in `app.state.redraft`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import cast

from fastapi import FastAPI, Request
from starlette.datastructures import State

from evalsuite import checker as answers
from redraft.engine import Engine
from redraft.errors import EngineTimeout, ModelNotFound
from redraft.halt import Halt
from redraft.types import Calibration
from server.adapters import leases
from server.adapters import names as adapter_names
from server.adapters.parts import Adapters
from server.admission import Admission, Deadline
from server.beat import Beat
from server.config import CalibrationSetting, ServeSettings
from server.drain import Drain
from server.idempotency import Replays
from server.keys import salt
from server.keys.salt import Salted
from server.share import Share
from server.telemetry import Telemetry
from server.tracing import Tracing, exporting
from server.vitals import Probe, Vitals

LOOP_SUFFIX = adapter_names.LOOP_SUFFIX


class AnswerChecker:
    """`evalsuite.checker` in the loop's form; the symbolic layer runs in its worker processes, never on the event loop."""

    def extract(self, response: str) -> str | None:
        return answers.extract(response)

    async def is_equal(self, gold: str, pred: str) -> bool:
        return await answers.is_equal_async(gold, pred)


class Catalog:
    """The models an engine serves, asked at most once every `ttl_s` seconds. Adapters of the registry are shown by their aliases."""

    def __init__(self, engine: Engine, *, ttl_s: float, adapters: Adapters | None = None) -> None:
        self._engine = engine
        self._adapters = adapters
        self._ttl_s = ttl_s
        self._names: list[str] = []
        self._until = 0.0

    async def names(self) -> list[str]:
        if time.monotonic() >= self._until:
            self._names = await self._engine.models()
            self._until = time.monotonic() + self._ttl_s
        return self._names

    async def resolve(self, name: str | None, *, param: str = "model") -> str:
        """The served name for a request's `model`: the base model when it names none. Raises ModelNotFound."""
        names = await self.names()
        if name is None:
            if not names:
                raise ModelNotFound("the engine serves no model", param=param)
            return names[0]
        plain = name.removesuffix(LOOP_SUFFIX)
        if plain not in names:
            raise ModelNotFound(f"the model `{name}` does not exist; served are {', '.join(self.shown(names))}", param=param)
        return plain

    def shown(self, names: list[str]) -> list[str]:
        """The engine's names, with aliases in place of the revisions behind them."""
        if self._adapters is None:
            return names
        registry = self._adapters.registry
        return [name for name in names if not registry.is_revision(name)] + list(registry.aliases)


@dataclass(frozen=True, slots=True)
class Services:
    settings: ServeSettings
    engine: Engine
    vitals: Vitals
    """The engine again, watched."""
    share: Share | Salted
    """That again, with a cap on what is under way at once: what loops and critiques run on."""
    beat: Beat
    catalog: Catalog
    checker: AnswerChecker
    admission: Admission
    halt: Halt
    drain: Drain
    replays: Replays
    telemetry: Telemetry
    tracing: Tracing
    adapters: Adapters | None

    def default_critic(self, request: Request) -> str | None:
        """The settings' critic; an alias as the revision that answers in this request."""
        named = self.settings.critic
        return None if named is None else leases.revision_of(request.scope, named)

    async def models_of(self, request: Request, model: str | None, critic: str | None, deadline: Deadline) -> tuple[str, str]:
        """The served names of the solver and of its critic (the settings' one, else the solver itself)."""
        try:
            async with asyncio.timeout(deadline.left()):
                solver = await self.catalog.resolve(model)
                wanted = critic or self.default_critic(request)
                return solver, solver if wanted is None else await self.catalog.resolve(wanted, param="critic")
        except TimeoutError:
            raise EngineTimeout("the engine did not say before the deadline which models it serves") from None

    def calibration_of(self, critic: str) -> Calibration | None:
        """Of an adapter's revision: what the settings say of it, then of its alias, then what lay beside its weights."""
        known = self.settings.calibrations
        found = known.get(critic) or known.get(critic.partition("@")[0])
        if found is None and self.adapters is not None and (brought := self.adapters.registry.calibration_of(critic)) is not None:
            found = CalibrationSetting.model_validate(brought)
        if found is None:
            return None
        calibration = found.calibration()
        self.telemetry.calibrated(critic, calibration)
        return calibration


def assemble(
    state: State,
    settings: ServeSettings,
    engine: Engine,
    *,
    catalog_ttl_s: float,
    telemetry: Telemetry,
    admission: Admission,
    adapters: Adapters | None = None,
    probe: Probe | None = None,
) -> Services:
    """`probe` asks an engine of this process whether it moves."""
    tracing = exporting(settings.otlp_endpoint, engine="vllm" if settings.engine_url is None else "openai")
    for critic, setting in settings.calibrations.items():
        telemetry.calibrated(critic, setting.calibration())
    if adapters is not None:
        telemetry.adapters.watch(adapters)
        telemetry.canaries(lambda alias: None if (route := adapters.registry.route(alias)) is None else route.canary)
    catalog = Catalog(engine, ttl_s=catalog_ttl_s, adapters=adapters)
    halt, kept = Halt(), settings.idempotency
    beat = Beat()
    vitals = Vitals(engine, hang_s=settings.hang_s, probe=probe, beat=beat)
    share = Share(vitals, settings.limits.in_flight)
    telemetry.shared(share)
    services = Services(
        settings=settings,
        engine=engine,
        vitals=vitals,
        beat=beat,
        share=share,
        catalog=catalog,
        checker=AnswerChecker(),
        admission=admission,
        halt=halt,
        drain=Drain(admission, halt, grace_s=settings.drain_s),
        replays=Replays(keep_s=kept.keep_s, keys=kept.keys, max_bytes=kept.max_bytes),
        telemetry=telemetry,
        tracing=tracing,
        adapters=adapters,
    )
    state.redraft = services
    return services


def of_app(app: FastAPI) -> Services:
    return cast(Services, app.state.redraft)


def of(request: Request) -> Services:
    """The parts for this request: what its loops generate carries its key's salt."""
    parts, salted = of_app(request.app), request.scope.get(salt.IN_SCOPE)
    return parts if salted is None else replace(parts, share=Salted(parts.share, salted))
