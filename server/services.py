"""The parts a server is made of, put together once and kept in `app.state.redraft`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI, Request
from starlette.datastructures import State

from evalsuite import checker as answers
from redraft.engine import Engine
from redraft.errors import ModelNotFound
from redraft.types import Calibration
from server.admission import Admission
from server.config import ServeSettings
from server.telemetry import Telemetry

LOOP_SUFFIX = ":loop"
"""`NAME:loop` is the model NAME inside the loop, for clients that only speak chat."""


class AnswerChecker:
    """`evalsuite.checker` in the loop's form; the symbolic layer runs in its worker processes, never on the event loop."""

    def extract(self, response: str) -> str | None:
        return answers.extract(response)

    async def is_equal(self, gold: str, pred: str) -> bool:
        return await answers.is_equal_async(gold, pred)


class Catalog:
    """The models an engine serves, asked at most once every `ttl_s` seconds."""

    def __init__(self, engine: Engine, *, ttl_s: float) -> None:
        self._engine = engine
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
            raise ModelNotFound(f"the model `{name}` does not exist; served are {', '.join(names)}", param=param)
        return plain


@dataclass(frozen=True, slots=True)
class Services:
    settings: ServeSettings
    engine: Engine
    catalog: Catalog
    checker: AnswerChecker
    admission: Admission
    telemetry: Telemetry

    async def models_of(self, model: str | None, critic: str | None) -> tuple[str, str]:
        """The served names of the solver and of its critic (the settings' one, else the solver itself)."""
        solver = await self.catalog.resolve(model)
        wanted = critic or self.settings.critic
        return solver, solver if wanted is None else await self.catalog.resolve(wanted, param="critic")

    def calibration_of(self, critic: str) -> Calibration | None:
        found = self.settings.calibrations.get(critic)
        return None if found is None else found.calibration()


def assemble(
    state: State, settings: ServeSettings, engine: Engine, *, catalog_ttl_s: float, telemetry: Telemetry, admission: Admission
) -> Services:
    services = Services(settings, engine, Catalog(engine, ttl_s=catalog_ttl_s), AnswerChecker(), admission, telemetry)
    state.redraft = services
    return services


def of_app(app: FastAPI) -> Services:
    return cast(Services, app.state.redraft)


def of(request: Request) -> Services:
    return of_app(request.app)
