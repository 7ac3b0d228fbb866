"""The engine protocol on vLLM's own chat handler, in the same process: no HTTP between a loop and its engine.

Inner calls share the prefix cache, the batch and the scheduler with every other request. Leaving a stream closes vLLM's generator,
which aborts the request in the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from pydantic import ValidationError
from starlette.datastructures import State
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response
from vllm.exceptions import VLLMError
from vllm.v1.engine.exceptions import EngineDeadError

from redraft import wire
from redraft.engine import Chunk, Generation
from redraft.errors import BadRequest, EngineFailed, EngineUnavailable, RedraftError
from redraft.types import Usage

DATA = "data: "
RETRY_AFTER_S = 10.0


class VllmEngine:
    """`state` is the vLLM app's state: its chat handler, its model list, its engine client."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def models(self) -> list[str]:
        """Served base names and adapters. Raises EngineUnavailable when the engine core is dead."""
        try:
            await self._state.engine_client.check_health()
        except EngineDeadError as error:
            raise _dead() from error
        handler = self._state.openai_serving_models
        return [path.name for path in handler.base_model_paths] + list(handler.lora_requests)

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[_VllmStream]:
        reply = await self._open(request)
        try:
            yield _VllmStream(reply, wire.Reader(request.n), self._state)
        finally:
            await reply.aclose()

    async def _open(self, request: Generation) -> AsyncGenerator[str, None]:
        try:
            chat = ChatCompletionRequest(**wire.request_body(request))
            reply = await self._state.openai_serving_chat.create_chat_completion(chat, None)
        except ValidationError as error:
            raise BadRequest(f"the engine refused the request: {error.errors()[0]['msg']}") from error
        except EngineDeadError as error:
            raise _dead() from error
        except (VLLMError, ValueError, TypeError, OverflowError) as error:
            reply = create_error_response(error)
        if isinstance(reply, ErrorResponse):
            raise _dead() if self._state.engine_client.errored else wire.error_of(reply.error.code, reply.model_dump())
        if not isinstance(reply, AsyncGenerator):
            raise EngineFailed(f"the engine answered a {type(reply).__name__} to a streamed request")
        return reply


def _dead() -> RedraftError:
    return EngineUnavailable("the engine is not running", retry_after_s=RETRY_AFTER_S)


class _VllmStream:
    def __init__(self, reply: AsyncGenerator[str, None], reader: wire.Reader, state: State) -> None:
        self._reply = reply
        self._reader = reader
        self._state = state

    @property
    def usage(self) -> Usage:
        return self._reader.usage

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        try:
            async for line in self._reply:
                data = line.removeprefix(DATA).strip()
                if data == wire.DONE:
                    break
                for chunk in self._reader.feed(data):
                    yield chunk
            self._reader.close()
        except (EngineDeadError, EngineFailed) as error:
            if self._state.engine_client.errored:  # vLLM's handler may tell of it as of any error
                raise _dead() from error
            raise
