"""The one way in which files are written: whole or not at all, whoever else writes there."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from minigrad.errors import FormatError
from minigrad.formats import load, save
from minigrad.formats.writing import replacing, write_bytes, write_text

SUFFIXES = [".npz", ".pth", ".safetensors"]
kinds = pytest.mark.parametrize("suffix", SUFFIXES)


def names(folder):
    return sorted(os.listdir(folder))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    for mask, expected in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            write_text(tmp_path / f"{mask}", "text")
        finally:
            os.umask(before)
        assert mode(tmp_path / f"{mask}") == expected


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o666, 0o755])
def test_an_old_file_keeps_its_permissions(tmp_path, permissions):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(permissions)
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == permissions


@kinds
def test_a_link_stays_and_its_target_is_replaced(tmp_path, suffix):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / f"real{suffix}", tmp_path / f"link{suffix}"
    target.write_bytes(b"old")
    link.symlink_to(target)
    save(link, {"a": np.ones(3)})
    assert link.is_symlink()
    np.testing.assert_array_equal(load(target)["a"], np.ones(3))
    assert names(tmp_path / "store") == [target.name]


def test_a_link_to_nothing_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="levels of symbolic links"):
        write_bytes(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a", "b"]


@kinds
def test_the_longest_name_that_a_folder_takes(tmp_path, suffix):
    path = tmp_path / ("é" * ((255 - len(suffix)) // 2) + suffix)
    save(path, {"a": np.ones(3)})
    save(path, {"a": np.zeros(3)})
    np.testing.assert_array_equal(load(path)["a"], np.zeros(3))
    assert names(tmp_path) == [path.name]
    with pytest.raises(OSError, match="too long"):
        save(tmp_path / ("a" * 256 + suffix), {"a": np.ones(3)})
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a\0b.npz", "\ud800.npz"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    path = os.path.join(tmp_path, name)
    for use in (lambda: save(path, {"a": np.ones(3)}), lambda: load(path)):
        with pytest.raises(FormatError, match="no file can have the name") as caught:
            use()
        assert str(caught.value).isprintable()
    assert names(tmp_path) == []


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null", "", str(tmp_path / "new") + "/"):
        with pytest.raises(FormatError):
            write_bytes(path, b"new")
    assert names(tmp_path) == ["pipe"]
    with pytest.raises(FileNotFoundError) as caught:
        write_bytes(tmp_path / "none" / "file", b"new")
    assert caught.value.filename == str(tmp_path / "none" / "file")


def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(FormatError, match="not a file"):
        load(tmp_path / "pipe.npz")


WRITE = "import sys, numpy as np; from minigrad.formats import save; "


@kinds
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    """A limit on the size of files is as good as a full disk, and needs no disk."""
    path = tmp_path / f"w{suffix}"
    save(path, {"a": np.ones(3)})

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code = WRITE + "save(sys.argv[1], {'a': np.ones(1_000_000), 'b': np.ones(1_000_000)})"
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path], preexec_fn=limit, capture_output=True,
        text=True, env=child_environment(), check=False,
    )  # fmt: skip
    last = child.stderr.strip().splitlines()[-1]
    assert last == f"OSError: [Errno 27] File too large: {str(path)!r}"
    assert "ignored" not in child.stderr
    assert names(tmp_path) == [path.name]
    np.testing.assert_array_equal(load(path)["a"], np.ones(3))


def child_environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


STOPPED = textwrap.dedent("""
    import os, signal, sys
    from minigrad.formats.writing import replacing

    with replacing(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        sys.stdin.read()
""")


def stopped_writer(path):
    """A process in the middle of writing."""
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=child_environment(),
    )  # fmt: skip
    assert child.stdout.readline() == b"writing\n"
    return child


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with stopped_writer(path) as killed:
        killed.kill()
    assert len(names(tmp_path)) == 2
    assert path.read_bytes() == b"old"
    write_bytes(tmp_path / "other", b"new")
    assert names(tmp_path) == ["file", "other"]


def test_the_part_file_of_a_living_writer_is_left_alone(tmp_path):
    path = tmp_path / "file"
    with stopped_writer(path) as living:
        write_bytes(path, b"mine")
        assert path.read_bytes() == b"mine"
        living.stdin.close()
        assert living.wait() == 0
    assert path.read_bytes() == b"half"
    assert names(tmp_path) == ["file"]


def test_only_part_files_are_removed(tmp_path):
    kept = {".minigrad-notes", "a.part", ".minigrad-folder.part", ".minigrad-link.part"}
    (tmp_path / ".minigrad-notes").touch()
    (tmp_path / "a.part").touch()
    (tmp_path / ".minigrad-folder.part").mkdir()
    (tmp_path / ".minigrad-link.part").symlink_to(tmp_path / "a.part")
    write_bytes(tmp_path / "file", b"new")
    assert set(names(tmp_path)) == kept | {"file"}


def test_an_interrupted_writer_cleans_up(tmp_path):
    def write():
        with replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == []


@kinds
def test_writers_of_one_path_never_mix(tmp_path, suffix):
    """Each reader sees the whole file of one writer."""
    path = tmp_path / f"w{suffix}"
    save(path, arrays(0))
    writers = [threading.Thread(target=lambda n=n: [save(path, arrays(n)) for _ in range(5)])
               for n in range(4)]  # fmt: skip
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        check_whole(path)
    for writer in writers:
        writer.join()
    check_whole(path)
    assert names(tmp_path) == [path.name]


def arrays(n):
    return {name: np.full(5000 + n, n) for name in "abc"}


def check_whole(path):
    state = load(path)
    numbers = {int(value) for array in state.values() for value in np.unique(array)}
    assert len(numbers) == 1
    assert {array.size for array in state.values()} == {5000 + numbers.pop()}


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)  # root may write to all
    with pytest.raises(PermissionError, match="file"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
