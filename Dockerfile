# The image of the sidecar, for amd64 and arm64.
#
#   docker build --tag backrest-sidecar .
#
# Whatever builds Dockerfiles builds it: nothing here needs BuildKit. The network is used
# by the installs of the first stage alone, and each file that they fetch has its hash in a
# lock. A base with a pip.conf of its own decides where from.

# One Python for all stages: the virtual environment points at the one it was made with.
ARG PYTHON_IMAGE=python:3.13.16-slim-bookworm

FROM ${PYTHON_IMAGE} AS base


FROM base AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# The environment that builds stays behind; the one that runs has no pip.
RUN python3 -m venv /build \
    && python3 -m venv --without-pip /opt/backrest-sidecar
COPY constraints-build.txt constraints-image.txt ./
# Wheels only: there is no compiler, and nobody's setup.py runs.
RUN /build/bin/pip install --only-binary=:all: --require-hashes -r constraints-build.txt \
    && /build/bin/pip --python /opt/backrest-sidecar/bin/python3 \
        install --no-compile --only-binary=:all: --require-hashes -r constraints-image.txt

COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN /build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/backrest-sidecar/bin/python3 \
        install --no-compile --no-index --no-deps /wheels/*.whl


FROM base AS sidecar
COPY --from=build /opt/backrest-sidecar /opt/backrest-sidecar
ENV PATH=/opt/backrest-sidecar/bin:$PATH

# The base has removed what Python compiled of its own library, and a container starts with
# nothing compiled: importing all of ours once leaves what it needs beside the sources, and
# no more. What runs later writes nothing there.
RUN ["python3", "-c", "import importlib, pkgutil, sidecar; [importlib.import_module(m.name) for m in pkgutil.walk_packages(sidecar.__path__, 'sidecar.')]"]
ENV PYTHONDONTWRITEBYTECODE=1

# Also where the health check looks: set it, or BACKREST_SIDECAR_STATE_DIR, instead of the flag.
ENV BACKREST_SIDECAR_CONFIG=/etc/backrest/config.json
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["backrest-sidecar", "healthcheck"]
ENTRYPOINT ["backrest-sidecar"]
CMD ["daemon", "--config", "/etc/backrest/config.json", "--with-events", "--apply"]

# Last, since they change with each commit.
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="backrest-sidecar" \
    org.opencontainers.image.description="Labels on Docker Compose services become backup plans in Backrest's config.json." \
    org.opencontainers.image.source="https://github.com/backrest-sidecar/backrest-sidecar" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
