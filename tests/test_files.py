"""Files are whole or not there; a folder is one process's at a time."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading

import pytest

from aajax import files
from aajax.errors import InputError

HOLD = """
import sys
from pathlib import Path
from aajax import files

with files.locked(Path(sys.argv[1]), "out"):
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "page.html"
    files.write_text(path, "old é\n")
    with pytest.raises(KeyError), files.written(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == "old é\n".encode()
    with files.written(path) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "old é\n"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["page.html"]


def test_a_new_file_that_fails_leaves_nothing(tmp_path):
    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "page.html"
    with pytest.raises(OSError) as caught, files.written(path):
        fail()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert names(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_errors_name_the_file_that_was_asked_for(tmp_path):
    for write in (files.write_text, files.append_text):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
            write("/dev/full", "text")
        with pytest.raises(FileNotFoundError, match=r"none/page'$"):
            write(tmp_path / "none" / "page", "text")
        with pytest.raises(IsADirectoryError) as caught:
            write(tmp_path, "text")
        assert caught.value.filename == str(tmp_path)


def test_links_are_followed_and_pipes_are_written_to(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(
        target=lambda: read.append((tmp_path / "pipe").read_text())
    )
    reader.start()
    files.write_text(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"]
    assert names(tmp_path) == ["link", "pipe", "real"]


def test_a_folder_appears_whole_and_is_replaced_file_by_file(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(KeyError), files.written_folder(folder) as made:
        (made / "a").write_text("half")
        raise KeyError
    assert names(tmp_path) == []
    for content in ("one", "two"):
        with files.written_folder(folder) as made:
            (made / "a").write_text(content)
            (made / "more").mkdir()
            (made / "more" / "b").write_text(content)
            if content == "two":
                assert (folder / "a").read_text() == "one"
                (folder / "own").write_text("mine")
    assert names(folder) == ["a", "more", "own"]
    assert (folder / "a").read_text() == (folder / "more" / "b").read_text() == "two"
    assert names(tmp_path) == ["model"]


def test_json_is_strict():
    value = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": None, "c": "NaN"}
    text = files.to_json(value)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.5, None, [None, None]],
        "b": None,
        "c": "NaN",
    }
    assert json.loads(files.to_json({"a": 0.1})) == {"a": 0.1}


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path):
    path = tmp_path / "runs" / "one" / files.LOCK
    with files.locked(path, "out is 'one'"):
        assert files.is_empty(path.parent)
        with (
            pytest.raises(InputError) as caught,
            files.locked(path, "out is 'one'"),
        ):
            pass
        line = str(caught.value)
        assert line.startswith(f"out is 'one': process {os.getpid()} on ")
        assert "writes there since 20" in line and "\n" not in line
        with files.locked(tmp_path / "runs" / "two" / files.LOCK, "out"):
            pass
        assert names(tmp_path / "runs") == ["one"]
    assert names(tmp_path) == []
    with files.locked(path, "out"):
        (path.parent / "config.json").touch()
    assert names(path.parent) == ["config.json"]


def test_a_lock_of_a_process_that_is_killed_is_free(tmp_path):
    path = tmp_path / files.LOCK
    command = [sys.executable, "-c", HOLD, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=f"^out: process {holder.pid} on "),
            files.locked(path, "out"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert path.exists()
        with files.locked(path, "out"):
            assert f'"pid": {os.getpid()}' in path.read_text()
    assert names(tmp_path) == []


def test_who_waits_goes_on_when_the_other_has_ended(tmp_path, caplog):
    path, order = tmp_path / files.LOCK, []
    begun = threading.Event()

    def second():
        begun.set()
        with files.locked(path, "model", wait=True):
            order.append("second")

    with files.locked(path, "model"):
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait()
        while not caplog.messages:
            pass
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    (line,) = caplog.messages
    assert line.startswith(f"model: process {os.getpid()} on ")
    assert line.endswith("; waiting until it ends")
    assert names(tmp_path) == []


def test_a_lock_on_a_full_disk(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    path = tmp_path / "run" / files.LOCK
    with (
        pytest.raises(OSError, match=f"No space left on device: '{path}'"),
        files.locked(path, "out"),
    ):
        pass
    assert names(tmp_path) == []


def test_where_there_are_no_locks_a_line_says_so(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with files.locked(tmp_path / files.LOCK, "out"):
        pass
    assert caplog.messages == ["out: it cannot be locked there (No locks available)"]
    monkeypatch.setattr(files, "fcntl", None)
    with files.locked(tmp_path / files.LOCK, "out"):
        pass
    assert caplog.messages[1] == "out: it cannot be locked on this system"
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "number", "reason"),
    [
        (Exception("No space left on device (os error 28)"), 28, "No space left"),
        (ValueError("DATA: [os_error_code='27']\nmore"), 27, "File too large"),
        (OSError(13, "Permission denied"), 13, "Permission denied"),
        (RuntimeError("one\ntwo"), errno.EIO, "one"),
        (RuntimeError(), errno.EIO, "RuntimeError"),
    ],
)
def test_errors_of_libraries_say_what_the_system_said(error, number, reason):
    found = files.os_error(error, "file")
    assert found.errno == number and found.filename == "file"
    assert found.strerror.startswith(reason) and "\n" not in found.strerror


def test_what_killed_writers_left_is_removed(tmp_path):
    inner = tmp_path / "saves"
    inner.mkdir()
    (inner / f"{files.PARTIAL}a").mkdir()
    (inner / f"{files.PARTIAL}a" / "some").touch()
    (tmp_path / f"{files.PARTIAL}b").touch()
    (inner / "whole").touch()
    files.clear_partial(tmp_path)
    assert list(tmp_path.rglob("*")) == [inner, inner / "whole"]
