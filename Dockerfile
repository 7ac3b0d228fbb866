# The server as an image, everything pinned by the locks.
#
#   CPU (embedded model):  docker build -t redraft:cpu .
#   GPU (any model):       docker build -t redraft:gpu --build-arg BASE=vllm/vllm-openai:v0.32.0 .
#   no Docker engine:      make image
#
# WEB:         the image in which npm brings the libraries of the web pages; nothing else of it is kept.
# TORCH_INDEX: address of PyTorch's CPU wheel index, where pip would not find a CPU build of torch by itself.
ARG BASE=python:3.11-slim-bookworm
ARG WEB=debian:bookworm-slim

FROM ${WEB} AS web
# The base images' distributions set these versions, here and below.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends npm python3-platformdirs \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/redraft
COPY redraft redraft
RUN python3 -c "from redraft.assets.install import install; install(print)"

FROM ${BASE}
ARG TORCH_INDEX=""
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_ROOT_USER_ACTION=ignore
ARG PIP_BREAK_SYSTEM_PACKAGES=1
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    REDRAFT_HOME=/var/lib/redraft \
    HF_HOME=/var/lib/redraft/huggingface \
    HOME=/var/lib/redraft \
    OMP_WAIT_POLICY=passive

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --gid 0 --home-dir /var/lib/redraft --no-create-home redraft \
    && install --directory --owner=10001 --group=0 --mode=0775 /var/lib/redraft

WORKDIR /opt/redraft
COPY requirements/torch-cpu.txt requirements/cpu.lock requirements/
COPY deploy/image/lock_subset.py deploy/image/lock_subset.py

# A base with vLLM in it keeps its torch and gets only what it lacks; any other gets the whole CPU install.
RUN if python3 -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"; then \
        python3 deploy/image/lock_subset.py requirements/cpu.lock > requirements/missing.lock \
        && python3 -m pip install --no-deps --require-hashes -r requirements/missing.lock; \
    else \
        python3 -m pip install --no-deps ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} -r requirements/torch-cpu.txt \
        && python3 -m pip install --no-deps --require-hashes -r requirements/cpu.lock; \
    fi

COPY pyproject.toml README.md LICENSE ./
COPY redraft redraft
COPY server server
COPY evalsuite evalsuite
COPY trainer trainer
COPY --from=web /opt/redraft/redraft/assets/dist redraft/assets/dist
# What is installed is the only copy of the code that stays in sight.
RUN python3 -m pip install --no-deps --no-build-isolation . \
    && rm -rf /opt/redraft/*

USER 10001:0
WORKDIR /var/lib/redraft
VOLUME ["/var/lib/redraft"]
EXPOSE 8000
# Loading a model takes minutes: until then a container is starting, not unhealthy.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=4 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('REDRAFT_PORT', '8000') + '/health/ready', timeout=4)"]
# It listens to others, and so asks for a key: REDRAFT_API_KEY, or `redraft keys create` in the volume (see docs/security.md).
ENTRYPOINT ["redraft"]
CMD ["serve", "--host", "0.0.0.0"]
