"""Settings of `redraft serve`: a flag wins over the environment (`REDRAFT_*`), the environment over the YAML file. Imports no engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from redraft import calibration
from redraft.errors import BadRequest
from redraft.options import Asked, LoopOptions
from redraft.types import Calibration


class LoopDefaults(BaseModel):
    """What a loop may do when a request does not say; a request may ask for less or more within `Limits`."""

    model_config = ConfigDict(extra="forbid")

    drafts: int = Field(5, ge=1, le=64)
    """At most so many; fewer when they agree."""
    batch: int = Field(5, ge=1, le=64)
    """Drafts drawn side by side before the vote is looked at again."""
    confidence: float = Field(0.95, gt=0.5, le=1)
    """Drawing stops when the leading answer's posterior reaches this; 1 draws on until nothing could change the winner."""
    rounds: int = Field(1, ge=0, le=8)
    critique: Asked = "calibrated"
    """`always` asks critics that have no calibration, or do not pay, too: heard and shown, they move no vote."""
    max_tokens: int = Field(8192, ge=8)
    """Generated tokens of all stages together."""
    max_calls: int = Field(64, ge=1)
    deadline_s: float | None = Field(None, gt=0)
    temperature: float = Field(0.7, ge=0, le=2)
    response_tokens: int = Field(1024, ge=8)
    critique_tokens: int = Field(384, ge=8)

    def options(self) -> LoopOptions:
        return LoopOptions(**self.model_dump())


class Limits(BaseModel):
    """What the server refuses."""

    model_config = ConfigDict(extra="forbid")

    loops: int = Field(64, ge=1)
    """Loops and critiques that run at once; more wait."""
    waiting: int = Field(256, ge=0)
    """Loops and critiques that may wait; more get 429."""
    waiting_tokens: int = Field(1 << 22, ge=8)
    """Tokens that all who wait may take together: their prompts, and what they may generate at most. More get 429."""
    body_bytes: int = Field(16 << 20, ge=1024)
    """A longer request body gets 413."""
    in_flight: int | None = Field(None, ge=1)
    """Completions of loops and critiques that are written at once; none: three quarters of what our own vLLM writes side by side."""
    drafts: int = Field(64, ge=1)
    rounds: int = Field(8, ge=0)
    max_tokens: int = Field(131_072, ge=8)
    deadline_s: float = Field(3600.0, gt=0)
    """The longest deadline that a request may set."""
    n: int = Field(64, ge=1)
    """Choices of one plain completion."""
    logprobs: int = Field(20, ge=0)
    """Candidates told for each token, of the reply or of the prompt."""
    schema_chars: int = Field(1 << 18, ge=64)
    """Of a JSON schema, a grammar, all tools together."""
    regex_chars: int = Field(8192, ge=16)
    """Of a regular expression with its repeats written out."""
    stops: int = Field(32, ge=1)
    """Stop strings, stop tokens and forbidden words, each."""
    stop_chars: int = Field(512, ge=1)
    """Of one stop string."""


class GuardSettings(BaseModel):
    """Who may ask, and under which name."""

    model_config = ConfigDict(extra="forbid")

    keys_file: Path | None = None
    """Where `redraft keys` keeps keys; none: `keys.sqlite` in REDRAFT_HOME."""
    public_without_keys: bool = False
    """Serve others than this machine although there is no key."""
    hosts: list[str] = []
    """Names that `Host` and `Origin` may carry, besides this machine's own. Bound to a public address without any, every name is taken."""
    cache_salt: bool = True
    """Where there are several keys, none shares another's prefix cache. A remote engine that does not know `cache_salt` needs this off."""
    template_kwargs: list[str] = ["enable_thinking", "reasoning_effort", "thinking"]
    """What a request may set in `chat_template_kwargs`."""


class IdempotencySettings(BaseModel):
    """What is kept for requests that come again with the same `Idempotency-Key`."""

    model_config = ConfigDict(extra="forbid")

    keep_s: float = Field(600.0, ge=0)
    """Seconds that an answer is kept."""
    keys: int = Field(1024, ge=1)
    """At most so many answers."""
    max_bytes: int = Field(64 << 20, ge=1024)
    """All of them together; the oldest make room."""


class CalibrationSetting(BaseModel):
    """A critic's measured rates, as `calibrations: {NAME: {tpr: ..., fpr: ..., n: ..., threshold: ...}}`."""

    model_config = ConfigDict(extra="forbid")

    tpr: float = Field(ge=0, le=1)
    fpr: float = Field(ge=0, le=1)
    n: int = Field(ge=1)
    threshold: float = Field(0.5, ge=0, le=1)
    """The belief from which a response is called correct."""
    rho_response: float = Field(1.0, ge=0, le=1)
    """Correlation between critiques of one response."""
    rho_answer: float = Field(1.0, ge=0, le=1)
    """The same between critiques of responses with one answer."""
    critiques: int = Field(1, ge=1, le=16)
    """How many critiques make one judgement."""
    critique_tokens: int | None = Field(None, ge=2)
    """The longest critique it was measured with."""
    pooled_accuracy: float | None = Field(None, ge=0, le=1)
    """Balanced accuracy of a judgement of several critiques."""
    matched_tpr: float | None = Field(None, ge=0, le=1)
    """The rates between right and wrong answers with equally many votes, and of how many responses: what moves votes, where it is known."""
    matched_fpr: float | None = Field(None, ge=0, le=1)
    matched_n: int | None = Field(None, ge=1)

    @classmethod
    def read(cls, path: Path) -> CalibrationSetting:
        """What `redraft calibrate` wrote. Raises BadRequest that names the file."""
        try:
            found = calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise BadRequest(f"{path}: {error}", param="calibrations") from error
        return cls(**asdict(found))

    def calibration(self) -> Calibration:
        return Calibration(**self.model_dump())


class AdapterSettings(BaseModel):
    """Adapters that are loaded while the server runs."""

    model_config = ConfigDict(extra="forbid")

    roots: list[Path] = []
    """Folders that adapters may come from, besides `adapters-in` in REDRAFT_HOME. Absolute paths."""
    hub: list[str] = []
    """Repositories of the Hugging Face hub that adapters may come from, each at a pinned commit: `OWNER/NAME`, or `OWNER/*`."""
    file: Path | None = None
    """A file that declares which adapters are served; they follow it."""
    reconcile_s: float = Field(3.0, gt=0)
    """Seconds between two looks at that file."""
    require_manifest: bool = False
    """Refuse a plain PEFT folder, which has no manifest."""
    max_bytes: int = Field(1 << 30, ge=1024)
    """A larger adapter is refused."""
    wait_s: float = Field(60.0, ge=0)
    """Seconds that a load waits for a slot of the engine to come free."""
    keep_days: float = Field(30.0, ge=0)
    """Copies that no server has used for so long are deleted at a start."""
    folder: Path | None = None
    """Where copies and aliases are kept; none: `adapters` in REDRAFT_HOME."""


class ServeSettings(BaseSettings):
    """Everything ours. vLLM's own flags pass through as they are (`vllm:` in the YAML file, or after ours on the command line)."""

    model_config = SettingsConfigDict(env_prefix="REDRAFT_", env_nested_delimiter="__", extra="forbid")

    model: str = "default"
    """A Hugging Face id, a local path, or `default` for the embedded SmolLM2-135M-Instruct."""
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    kv_cache_gib: int = Field(2, ge=1)
    """Memory for the KV cache on CPU, in GiB."""
    engine_url: str | None = None
    """Run over this OpenAI-compatible server instead of starting vLLM here."""
    engine_api_key: str | None = Field(None, repr=False)
    engine_timeout_s: float = Field(600.0, gt=0)
    """Seconds that a remote engine may be silent within one inner call."""
    otlp_endpoint: str | None = None
    """Send a trace of every loop and critique to this OTLP/HTTP collector, such as `http://127.0.0.1:4318`."""
    critic: str | None = None
    """The model or adapter that critiques when a request names none; else the solver itself."""
    api_key: Annotated[list[str], NoDecode] = Field([], repr=False)
    """Keys with all scopes that clients may send as `Authorization: Bearer KEY`, besides those of `redraft keys`."""
    keep_alive_s: float = Field(15.0, gt=0)
    """Seconds of silence after which a stream gets an SSE comment."""
    drain_s: float = Field(30.0, ge=0)
    """Seconds that running loops get to finish when the server is told to stop; then they stop with their best answer so far."""
    hang_s: float = Field(300.0, gt=0)
    """Seconds without progress after which the engine is not healthy. More than its longest step: a long prompt on a CPU takes minutes."""
    supervise: bool = True
    """Start the server again when its engine dies or hangs."""
    restarts: int = Field(5, ge=0)
    """So many times in a row."""
    standin: bool = True
    """503 at the port while a supervised server starts. Off where a balancer asks another server when a connection is refused."""
    loop: LoopDefaults = LoopDefaults()
    limits: Limits = Limits()
    guard: GuardSettings = GuardSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    adapters: AdapterSettings = AdapterSettings()
    calibrations: dict[str, CalibrationSetting] = {}
    vllm: dict[str, Any] = {}
    """vLLM flags, by their names without the dashes."""

    @field_validator("api_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        """The environment gives one string: keys with commas between them."""
        return [key for key in value.split(",") if key] if isinstance(value, str) else value


def load(config: Path | None, flags: dict[str, Any]) -> ServeSettings:
    """Settings from flags, environment and YAML, in that order. Raises BadRequest that names the field and where it came from."""
    if config is not None and not config.is_file():
        raise BadRequest(f"--config {config}: no such file")

    class Loaded(ServeSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            yaml = (YamlConfigSettingsSource(settings_cls, yaml_file=config),) if config is not None else ()
            return (init_settings, env_settings, *yaml)

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        loaded = Loaded(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        got = "" if "api_key" in field else f", got {json.dumps(first['input'], default=str)}"
        raise BadRequest(f"setting `{field}`: {first['msg']}{got}", param=field) from error
    return ServeSettings.model_construct(**dict(loaded))


def vllm_flags(settings: dict[str, Any]) -> list[str]:
    """`{"max-model-len": 4096, "enable-lora": False}` as command-line flags."""
    flags: list[str] = []
    for name, value in settings.items():
        flag = name.replace("_", "-").removeprefix("--")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            flags += [f"--{flag}", *map(str, value)]
        else:
            flags += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags
