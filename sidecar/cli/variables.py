"""What both programs read beside the flags and their variables, for the reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VariableSource:
    """A variable or a secret file, and what it is read for, as Markdown."""

    name: str
    purpose: str


VARIABLES = (
    VariableSource(
        "BACKREST_SIDECAR_BACKREST_PASSWORD",
        "the password of `--backrest-user`, where `--backrest-password-file` names no file",
    ),
    VariableSource(
        "BACKREST_SECRET_*",
        "what `env:BACKREST_SECRET_NAME` in the label `notify` refers to; no other is read for it",
    ),
    VariableSource(
        "TZ", "the time zone of the sidecar, and so of what it shows; the runner has its own"
    ),
    VariableSource(
        "DOCKER_TLS_VERIFY", "whether the certificate of an engine at `tcp://` is checked"
    ),
    VariableSource("DOCKER_CERT_PATH", "directory of the certificates for that engine"),
    VariableSource(
        "DOCKER_CONTEXT",
        "the docker context that names the engine, where neither flag nor `DOCKER_HOST` does; "
        "without it the one of `docker context use`",
    ),
    VariableSource(
        "DOCKER_CONFIG", "directory in which the docker client keeps contexts, else `~/.docker`"
    ),
    VariableSource(
        "REQUESTS_CA_BUNDLE",
        "certificates of the authorities that are trusted, by engines at `https://` for which no "
        "certificates are named, and by the API",
    ),
    VariableSource("CURL_CA_BUNDLE", "the same for engines, where the one above is not set"),
    VariableSource("SSL_CERT_FILE", "the same for the API, where the one above is not set"),
    VariableSource(
        "COMPOSE_PROJECT_NAME", "with `--compose`: the project's name, as Compose takes it"
    ),
    VariableSource("COMPOSE_PROFILES", "with `--compose`: the profiles whose services count"),
    VariableSource(
        "HOME",
        "where `~/.docker` is; with `--compose`: what `~` stands for in a bind mount",
    ),
    VariableSource("HOSTNAME", "to find out which container is our own; Docker sets it"),
    VariableSource(
        "GITHUB_WORKSPACE", "with `lint --format github`: what file names are relative to"
    ),
    VariableSource("NO_COLOR", "if it is not empty nothing is coloured"),
    VariableSource(
        "FORCE_COLOR", "if it is neither empty nor 0 colours go into pipes and files too"
    ),
    VariableSource("COLUMNS", "how wide tables are on a terminal; without it as wide as that is"),
    VariableSource("TERM", "where it is `dumb` nothing is coloured, and no line drawn anew"),
    VariableSource("_BACKREST_SIDECAR_COMPLETE", "shell completion, see `backrest-sidecar --help`"),
)
"""Variables that belong to no flag; those that Compose resolves in a file are its own."""

OF_BACKRESTS_CONTAINER = (
    VariableSource(
        "BACKREST_CONFIG",
        "where the document is there: stop, pause and scale templates leave their markers "
        "beside it, and refuse to stop anything where it is not set",
    ),
    VariableSource(
        "DOCKER_HOST", "the engine that hooks speak to; without it `/var/run/docker.sock`"
    ),
    VariableSource("TZ", "the time zone in which schedules are meant"),
)
"""Variables of the backrest container, which `doctor` checks."""

SECRET_FILES = (
    VariableSource(
        "--backrest-password-file",
        "the password of `--backrest-user`, on the first line",
    ),
    VariableSource("init --password-file", "the repository's password, which `init` writes"),
    VariableSource(
        "--secrets-dir",
        "the one directory below which `file:PATH` in the label `notify` is read: an absolute "
        "path, a regular file of text, of at most 64 KiB",
    ),
)
"""Files that hold a secret, by the flag that leads to them."""
