"""An image with the process tree of Backrest's official one, by stand-ins of the same shape.

`docker top` shows `/sbin/tini -- /docker-entrypoint /backrest`, `/docker-entrypoint /backrest`
and `/backrest`: an init, a program that stays as the parent, and the daemon. The first two are
tini. The third, compiled here, does one thing of Backrest's: it runs a shell for whatever
script is written into the FIFO /work, and waits for its end.
"""

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

import docker

from sample_stack import busybox_tar

IMAGE = "official-layout"
TREE = [
    "/sbin/tini -- /docker-entrypoint /backrest",
    "/docker-entrypoint /backrest",
    "/backrest",
]
_TINI = Path("/usr/bin/tini-static")
_DAEMON = """
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (;;) {
        int script = open("/work", O_RDONLY);
        pid_t child = fork();
        if (child == 0) {
            dup2(script, 0);
            execl("/bin/sh", "sh", (char *)0);
            _exit(127);
        }
        close(script);
        waitpid(child, 0, 0);
    }
}
"""


def import_official_layout(client: docker.APIClient) -> str:
    """Make the image; return its name."""
    packed = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=packed, mode="a") as tar, tempfile.TemporaryDirectory() as folder:
        daemon = Path(folder) / "backrest"
        compiler = ["cc", "-static", "-O1", "-x", "c", "-o", str(daemon), "-"]
        subprocess.run(compiler, input=_DAEMON.encode(), check=True)
        work = tarfile.TarInfo("work")
        work.type, work.mode = tarfile.FIFOTYPE, 0o600
        tar.addfile(work)
        tar.add(daemon, "backrest")
        for name in ("sbin/tini", "docker-entrypoint"):
            tar.add(_TINI.resolve(), name)
    changes = ['ENTRYPOINT ["/sbin/tini", "--", "/docker-entrypoint"]', 'CMD ["/backrest"]']
    client.import_image_from_data(
        packed.getvalue(), repository=IMAGE, tag="latest", changes=changes
    )
    return IMAGE


def run_hook(client: docker.APIClient, container: str, script: str) -> None:
    """Let the daemon of a container run a script, as Backrest runs a hook."""
    made = client.exec_create(container, ["sh", "-c", 'printf "%s\\n" "$0" >/work', script])
    client.exec_start(made)
