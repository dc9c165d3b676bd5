"""Real file systems, mounted for a test: root can, and a test that cannot mount fails."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[None]:
    """Mount something until the end of the block."""
    subprocess.run(["mount", *arguments, str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


@contextmanager
def mounted_fat(target: Path, image: Path) -> Iterator[None]:
    """Mount a new image of FAT until the end of the block; by FUSE where the kernel has no FAT."""
    make_fat(image)
    if knows_fat():
        with mounted(target, "-t", "vfat", "-o", "loop", str(image)):
            yield
    else:
        with fuse_fat(target, image):
            yield


@contextmanager
def fuse_fat(target: Path, image: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Mount an image of FAT by FUSE until the end of the block; give the program that serves it."""
    command = ["fusefat", "-f", "-o", "rw+", str(image), str(target)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:
        try:
            while not target.is_mount():
                assert program.poll() is None, "fusefat has not mounted"
            yield program
        finally:
            subprocess.run(["umount", "--lazy", str(target)], check=True)
            program.kill()


@contextmanager
def mounted_exfat(target: Path, image: Path) -> Iterator[None]:
    """Mount a new image of exFAT by FUSE until the end of the block."""
    _make(image, "mkfs.exfat")
    attach = ["losetup", "--find", "--show", str(image)]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with mounted(target, "-t", "exfat-fuse", device):
            yield
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def make_fat(image: Path) -> None:
    """Make an image of FAT; needs dosfstools."""
    _make(image, "mkfs.vfat")


def _make(image: Path, program: str) -> None:
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run([program, str(image)], check=True, stdout=subprocess.DEVNULL)


def knows_fat() -> bool:
    """Return whether the kernel knows FAT."""
    with suppress(FileNotFoundError):
        subprocess.run(["modprobe", "--quiet", "vfat"], check=False)
    return "vfat" in Path("/proc/filesystems").read_text()
