# The images of the sidecar and of the bundled runner, for amd64 and arm64.
# docs/reference/images.md has what is in which, and how large it is.
#
#   docker build --target sidecar --tag backrest-sidecar .
#   docker build --target runner --tag backrest-runner .
#   docker build --target runner-all --tag backrest-runner-all .
#
# Whatever builds Dockerfiles builds them: nothing here needs BuildKit. The network is used
# by the installs of pip, each file of which has its hash in a lock, and for the runner by
# a few packages of the base's own release. A base with a pip.conf of its own decides where
# from.

# One Python for all stages: the virtual environment points at the one it was made with.
ARG PYTHON_IMAGE=python:3.13.16-slim-bookworm
# Whose programs the runner carries; both are one file each that needs no library.
ARG RESTIC_IMAGE=restic/restic:0.19.1
ARG DOCKER_IMAGE=docker:29.7.2-cli

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
# nothing compiled: importing all of ours once, and what commands import late, leaves what it
# needs beside the sources, and no more. What runs later writes nothing there.
RUN ["python3", "-c", "import importlib, pkgutil, sidecar; late = ('click._textwrap', 'click.shell_completion', 'pydantic.dataclasses', 'pydantic.root_model', 'rich.cells', 'rich.console', 'rich.table', 'rich.text', 'textwrap'); [importlib.import_module(name) for name in (*(m.name for m in pkgutil.walk_packages(sidecar.__path__, 'sidecar.')), *late)]"]
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


# What is below is the runner's alone: a build of the sidecar ends above.
FROM ${RESTIC_IMAGE} AS restic
FROM ${DOCKER_IMAGE} AS docker


FROM build AS build-runner
# The same versions, and Apprise beside them, which knows the services for `--notify-url`.
COPY constraints-runner.txt ./
RUN /build/bin/pip --python /opt/backrest-sidecar/bin/python3 \
    install --no-compile --only-binary=:all: --require-hashes -r constraints-runner.txt


FROM base AS runner
# tini reaps what hooks leave behind; curl is for hooks, as in Backrest's image; ssh is how
# restic speaks to `sftp:` repositories and rsync to other machines; rclone is for `rclone:`
# repositories, as in Backrest's image.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates curl openssh-client rclone rsync tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
COPY --from=restic /usr/bin/restic /usr/local/bin/restic
# Hooks of labels stop, start and dump by it.
COPY --from=docker /usr/local/bin/docker /usr/local/bin/docker
COPY --from=build-runner /opt/backrest-sidecar /opt/backrest-sidecar
ENV PATH=/opt/backrest-sidecar/bin:$PATH

# As above.
RUN ["python3", "-c", "import importlib, pkgutil, sidecar; late = ('click._textwrap', 'click.shell_completion', 'pydantic.dataclasses', 'pydantic.root_model', 'rich.cells', 'rich.console', 'rich.table', 'rich.text', 'textwrap'); [importlib.import_module(name) for name in (*(m.name for m in pkgutil.walk_packages(sidecar.__path__, 'sidecar.')), *late)]"]
ENV PYTHONDONTWRITEBYTECODE=1

# Where the document is, for the daemon, the health check and each command; hooks leave beside
# it what they have stopped, as they do under Backrest, whose variable this is. What restic keeps
# in /cache may be lost, but takes time to fetch again: mount a volume there.
ENV BACKREST_CONFIG=/etc/backrest/config.json \
    XDG_CACHE_HOME=/cache
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["backrest-runner", "healthcheck"]
ENTRYPOINT ["tini", "--", "backrest-runner"]
CMD ["daemon"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="backrest-runner" \
    org.opencontainers.image.description="Runs the backup plans of Backrest's config.json without Backrest: restic, hooks, retention, restores." \
    org.opencontainers.image.source="https://github.com/backrest-sidecar/backrest-sidecar" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"


FROM runner AS runner-all
# What hooks of your own may need beside it: clients of databases, for dumps by commands, and
# three programs for files. The runner itself starts none of them.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        dar duplicity mariadb-client par2 postgresql-client redis-tools sqlite3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
LABEL org.opencontainers.image.title="backrest-runner-all" \
    org.opencontainers.image.description="backrest-runner with clients of databases, dar, par2 and duplicity for hooks."


# A build that names no target makes the sidecar.
FROM sidecar
