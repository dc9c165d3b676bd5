"""The shell scripts of our hooks: stop, start, pause, scale, and commands in a container.

They run in the runner's container. Each is a head of quoted assignments and a constant
body for any POSIX `sh`. The runner pipes a hook to `sh` on standard input, so whatever
could read that input gets /dev/null. A marker below the runner's config directory says
what a script stopped, so that only this is started again, also after a crash.
"""

import re
import shlex
from functools import lru_cache

# A name with a slash would lead out of the directory. Only a plain file that begins with
# the plan, as we write it, or an empty one is a marker; whatever else lies there is not ours.
_STOP_HEAD = """\
: "${BACKREST_CONFIG:?must be set in the runner: without it nothing could tell what to start again}"
case $name in
  '' | .* | */*) echo "'$name' is no name of Docker's: nothing is done" >&2; exit 1 ;;
esac
directory="${BACKREST_CONFIG%/*}/.quiesced"
is_foreign() {
  if [ -L "$1" ]; then return 0; fi
  if [ ! -e "$1" ]; then return 1; fi
  if [ ! -f "$1" ]; then return 0; fi
  if [ ! -s "$1" ]; then return 1; fi
  first=''
  read -r first <"$1" || :
  case $first in plan=*) return 1 ;; esac
}
"""

# No container's name begins with a dot or holds an @: neither a marker that is being
# written nor that of a service can be taken for the marker of a container.
_CONTAINER_MARKER = """\
marker="$directory/$name"
part="$directory/.new@$name"
"""

_SERVICE_MARKER = """\
marker="$directory/.service@$name"
part="$directory/.new.service@$name"
"""

# The marker that a version before this one wrote for a service has the service's bare name.
_OLDER_SERVICE_MARKER = """\
older="$directory/$name"
if [ ! -e "$marker" ] && [ -f "$older" ] && grep -q '^state=scaled$' "$older"; then
  marker=$older
fi
"""

_REFUSE_FOREIGN = """\
for file in "$marker" "$part"; do
  if is_foreign "$file"; then
    echo "$file is no marker of ours: it stays, and nothing is done to $name" >&2
    exit 1
  fi
done
"""

# A stop that was asked for may go on after the death of whoever asked, so the marker holds
# when that was and how long the container has; `sidecar.docker.stopped` has the same rule.
_WRITE_MARKER = """\
mkdir -p "$directory"
printf 'plan=%s\\ncontainer=%s\\nstate=%s\\nverb=%s\\nat=%s\\ntimeout=%s\\n' \
  "$plan" "$id" "$state" "$verb" "$(date +%s)" "$timeout" >"$part"
sync "$part"
mv -f "$part" "$marker"
sync "$directory"
"""

_ADD_REPLICAS = """printf 'replicas=%s\\n' "$replicas" >>"$part"\n"""

_FINISH_MARKER = """\
printf 'finished=%s\\n' "$finished" >>"$marker"
sync "$marker"
"""

# Without `at` an older version wrote it: then nobody waits. Each wait also ends after its own
# number of seconds, for the clock may be set back meanwhile. What was started may be stopped by
# another run before the script has ended: only the marker that was read is removed.
_READ_MARKER = """\
held=$(cat "$marker")
container='' finished='' replicas='' asked='' at='' timeout='' is_endless=''
while IFS='=' read -r key value; do
  case $key in
    container) container=$value ;;
    verb) asked=$value ;;
    at) at=$value ;;
    timeout) timeout=$value ;;
    finished) finished=$value ;;
    replicas) replicas=$value ;;
  esac
done <"$marker"
case $at in '' | *[!0-9]*) at=0 ;; esac
case $timeout in
  -1) timeout=600 is_endless=yes ;;
  '' | *[!0-9]*) timeout=10 ;;
esac
limit=$((at + timeout + 15))
round=0
may_still_stop() {
  if [ -n "$finished" ] || [ "$(date +%s)" -ge "$limit" ]; then return 1; fi
  round=$((round + 1))
  [ "$round" -le $((timeout + 15)) ] && sleep 1
}
remove_marker() {
  if [ "$(cat "$marker" 2>/dev/null)" = "$held" ]; then rm -f "$marker"; fi
}
"""

# A second stop is never sent: many programs end hard by a second SIGTERM.
_AWAIT_STOP = """\
look() {
  now=$(docker inspect --type container \
    --format '{{.State.FinishedAt}} {{.State.Status}}' "$container")
  status=${now#* }
}
look
while [ "$status" = running ] && may_still_stop; do look; done
"""

_QUIESCE = (
    _STOP_HEAD
    + _CONTAINER_MARKER
    + """\
seen=$(docker ps --all --no-trunc --filter "name=$pattern" --format '{{.ID}} {{.State}}')
if [ -z "$seen" ]; then echo "$name does not exist: nothing to $verb"; exit 0; fi
id=${seen%% *}
state=${seen#* }
if [ "$state" = running ]; then
"""
    + _REFUSE_FOREIGN
    + """\
fi
if [ "$state" = running ] && [ -e "$marker" ]; then
"""
    + _READ_MARKER
    + """\
if [ "$container" = "$id" ]; then
"""
    + _AWAIT_STOP
    + """\
state=$status
fi
fi
if [ "$state" != running ]; then echo "$name is $state: left as it is"; exit 0; fi
facts=$(docker inspect --type container --format \
'{{.HostConfig.AutoRemove}} {{if .Config.StopTimeout}}{{.Config.StopTimeout}}{{end}}' "$id")
timeout=${facts#* }
if [ "$verb" != stop ]; then timeout=0
elif [ "${facts%% *}" = true ]; then
  echo "$name would be removed when it stops (--rm): it is not stopped, and not backed up" >&2
  exit 1
fi
"""
    + _WRITE_MARKER
    + """\
docker "$verb" "$id" </dev/null >/dev/null
finished=$(docker inspect --type container --format '{{.State.FinishedAt}}' "$id")
"""
    + _FINISH_MARKER
)

_REQUIRE_MARKER = """\
if is_foreign "$marker"; then
  echo "$marker is no marker of ours: it stays, and nothing is done to $name" >&2
  exit 1
fi
[ -e "$marker" ] || exit 0
"""

# Docker's times are in UTC, those of Podman have an offset. No `date` of all systems reads them.
_SECONDS_OF = """\
seconds_of() {
  offset=0
  case $1 in
    *[+-][0-9][0-9]:[0-9][0-9])
      zone=${1#"${1%??????}"}
      hour=${zone%:*}
      offset=$((${zone%?????}1 * ((1${hour#?} - 100) * 3600 + (1${zone#*:} - 100) * 60)))
      ;;
  esac
  IFS=-T: read -r year month day hour minute second <<END
$(printf %.19s "$1")
END
  year=$((1$year - 10000)) month=$((1$month - 100)) day=$((1$day - 100))
  [ "$month" -gt 2 ] || year=$((year - 1))
  days=$((365 * year + year / 4 - year / 100 + year / 400))
  days=$((days + (153 * ((month + 9) % 12) + 2) / 5 + day - 719469))
  echo $((days * 86400 + (1$hour - 100) * 3600 + (1$minute - 100) * 60 + 1$second - 100 - offset))
}
is_ours() {
  if [ -n "$finished" ]; then [ "$finished" = "$when" ]; return; fi
  if [ "$status" != exited ] || [ "$at" = 0 ]; then return 0; fi
  stopped=$(seconds_of "$when")
  [ "$stopped" -ge "$at" ] && [ "$stopped" -le "$limit" ]
}
"""

_RESUME = (
    _STOP_HEAD
    + _CONTAINER_MARKER
    + _REQUIRE_MARKER
    + _READ_MARKER
    + _SECONDS_OF
    + """\
found=$(docker ps --all --quiet --no-trunc --filter "id=$container")
if [ -z "$container" ] || [ "$found" != "$container" ]; then
  remove_marker
  if [ -z "$(docker ps --quiet --filter "name=$pattern" --filter status=running)" ]; then
    echo "what was stopped of $name is gone, and no container of that name runs" >&2
    exit 1
  fi
  echo "$name is another container than the one that was stopped: left as it is"
  exit 0
fi
"""
    + _AWAIT_STOP
    + """\
when=${now%% *}
if [ "$status" = running ]; then
  if [ -z "$finished" ] && [ -n "$is_endless" ]; then
    remove_marker
    echo "$name was asked to stop, has no time limit, and still runs after ten minutes:" \
      "if it stops later, nobody starts it again" >&2
    exit 1
  fi
elif ! is_ours; then
  echo "$name was started or stopped by someone else since: left as it is"
elif [ "$verb" = unpause ] && [ "$status" != paused ]; then
  echo "$name is not paused any more: left as it is"
elif [ "$verb" = start ] && [ "$status" = paused ]; then
  echo "$name was paused by someone else since: left as it is"
else
  docker "$verb" "$container" </dev/null >/dev/null
fi
remove_marker
"""
)

_FIND_SERVICE = """\
id=''
services=$(docker service ls --filter "name=$name" --format '{{.ID}} {{.Name}}')
while read -r candidate service; do
  if [ "$service" = "$name" ]; then id=$candidate; fi
done <<END
$services
END
look() {
  now=$(docker service inspect --format \
'{{if .Spec.Mode.Replicated}}{{.Spec.Mode.Replicated.Replicas}}{{end}}' "$id")
}
"""

# No container must be seen twice in a row: a task that was just starting may still come up.
# Only the containers of this node are listed, not the tasks of all nodes: a socket proxy
# that shows services and containers is enough.
_SCALE_DOWN = (
    _STOP_HEAD
    + _SERVICE_MARKER
    + _FIND_SERVICE
    + """\
if [ -z "$id" ]; then echo "$name does not exist: nothing to scale"; exit 0; fi
look
replicas=$now
if [ -z "$replicas" ]; then echo "$name is no replicated service: it has no scale" >&2; exit 1; fi
if [ "$replicas" = 0 ]; then echo "$name is at 0 replicas: left as it is"; exit 0; fi
state=scaled
timeout=0
"""
    + _REFUSE_FOREIGN
    + _WRITE_MARKER.replace("sync", _ADD_REPLICAS + "sync", 1)
    + """\
docker service scale --detach=true "$id=0" </dev/null >/dev/null
finished=$(date +%s)
"""
    + _FINISH_MARKER
    + """\
round=0
quiet=0
while [ "$quiet" -lt 2 ]; do
  if [ "$round" -gt 0 ]; then sleep 1; fi
  round=$((round + 1))
  if [ "$round" -gt 120 ]; then echo "$name still runs after two minutes" >&2; exit 1; fi
  running=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=$name")
  if [ -z "$running" ]; then quiet=$((quiet + 1)); else quiet=0; fi
done
"""
)

_SCALE_UP = (
    _STOP_HEAD
    + _SERVICE_MARKER
    + _OLDER_SERVICE_MARKER
    + _REQUIRE_MARKER
    + _READ_MARKER
    + _FIND_SERVICE
    + """\
if [ -z "$id" ]; then
  remove_marker
  echo "what was scaled to 0 of $name is gone, and there is no service of that name" >&2
  exit 1
fi
if [ "$id" != "$container" ]; then
  echo "$name is another service than the one that was scaled: left as it is"
  remove_marker
  exit 0
fi
look
while [ "$now" != 0 ] && may_still_stop; do look; done
if [ "$now" = 0 ] && [ -n "$replicas" ]; then
  docker service scale --detach=true "$id=$replicas" </dev/null >/dev/null
else
  echo "$name was scaled by someone else since: left as it is"
fi
remove_marker
"""
)

_EXEC = """\
running=$(docker ps --quiet --no-trunc --filter "$filter" --filter status=running)
running=${running%%
*}
if [ -z "$running" ]; then echo "$name is not running: its hook is left out"; exit 0; fi
docker exec ${user:+--user "$user"} "$running" sh -c "$command" </dev/null
"""


def escape_template(script: str) -> str:
    """Escape a script so that the runner, which renders it as a Go template, changes nothing."""
    return script.replace("{{", '{{"{{"}}')


@lru_cache(maxsize=16)
def _escaped(body: str) -> str:
    return escape_template(body)


def _script(what: str, body: str, **values: str) -> str:
    """Put a comment line, which people see in the runner's UI, and the values in front."""
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return escape_template(f"# {' '.join(what.split())}\nset -eu\n{head}") + _escaped(body)


def _name_pattern(name: str) -> str:
    # Podman knows names without the slash that Docker puts before them.
    return f"^/?{re.escape(name)}$"


def render_quiesce(name: str, plan_id: str, verb: str) -> str:
    """Return the script that marks one container, if it runs, and stops or pauses it (`verb`)."""
    return _script(
        f"{verb} {name} if it runs",
        _QUIESCE,
        name=name,
        pattern=_name_pattern(name),
        plan=plan_id,
        verb=verb,
    )


def render_resume(name: str, verb: str) -> str:
    """Return the script that starts or unpauses (`verb`) what the marker says was stopped."""
    return _script(
        f"{verb} {name} if the backup stopped it",
        _RESUME,
        name=name,
        pattern=_name_pattern(name),
        verb=verb,
    )


def render_refusal(name: str) -> str:
    """Return the script that fails in place of a stop which would remove the container."""
    why = f"{name} would be removed when it stops (--rm): it is not stopped, and not backed up"
    return escape_template(f"echo {shlex.quote(why)} >&2; exit 1")


def render_scale_down(service: str, plan_id: str) -> str:
    """Return the script that scales a Swarm service to 0 and waits for its tasks on this node."""
    return _script(f"scale {service} to 0", _SCALE_DOWN, name=service, plan=plan_id, verb="scale")


def render_scale_up(service: str) -> str:
    """Return the script that gives a Swarm service its replicas back."""
    return _script(f"scale {service} back if the backup scaled it", _SCALE_UP, name=service)


def render_exec(
    name: str, command: str, *, what: str = "exec hook", user: str = "", swarm_service: str = ""
) -> str:
    """Return the script that runs `command` in a container; one that does not run is no failure.

    The tasks of a Swarm service have no lasting name: there the first that runs is
    taken.
    """
    target = f"name={_name_pattern(name)}"
    if swarm_service:
        target = f"label=com.docker.swarm.service.name={swarm_service}"
    return _script(f"{what} in {name}", _EXEC, name=name, filter=target, user=user, command=command)
