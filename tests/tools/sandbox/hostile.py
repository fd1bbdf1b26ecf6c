"""Programs that a model may write and no host should feel.

Each is given the places it attacks: FOLDER (of the host, with secret.txt and a socket), PORT (the host listens there),
ABSTRACT (the host's abstract socket), HOST (the process number of the test) and MARKER (to name what it leaves behind).
A program that got what it wanted prints BREACH; one that works as it should prints "fine" last.
"""

from __future__ import annotations

from dataclasses import dataclass

from aepo.tools.sandbox.base import SandboxStatus

OK, ERROR, TIMEOUT = SandboxStatus.OK, SandboxStatus.ERROR, SandboxStatus.TIMEOUT
OUTPUT, MEMORY, KILLED = SandboxStatus.OUTPUT_LIMIT, SandboxStatus.MEMORY_LIMIT, SandboxStatus.KILLED
REFUSED = {OK, ERROR}

PATIENT = 90.0
"""Seconds for what ends by itself, on a busy machine."""
SHORT = 1.0
"""Seconds for what does not."""


@dataclass(frozen=True)
class Program:
    """One program, the ends that are right for it, and how long it may take."""

    name: str
    code: str
    statuses: frozenset[SandboxStatus]
    timeout: float


def _programs(statuses: set[SandboxStatus], timeout: float, codes: dict[str, str]) -> list[Program]:
    return [Program(name, code, frozenset(statuses), timeout) for name, code in codes.items()]


FINE = _programs({OK}, PATIENT, {
    "hello": "print('fine')",
    "subprocess": "import subprocess\nprint(subprocess.run(['/bin/echo', 'fine'], capture_output=True, text=True).stdout)",
    "threads": "import threading\nt = threading.Thread(target=print, args=('fine',))\nt.start()\nt.join()",
    "temporary_files": (
        "import tempfile\nwith tempfile.TemporaryFile() as f:\n    f.write(b'fine')\n    f.seek(0)\n"
        "    print(f.read().decode())"
    ),
    "socket_pair": "import socket\na, b = socket.socketpair()\na.send(b'fine')\nprint(b.recv(9).decode())",
    "event_loop": "import asyncio\nprint(asyncio.run(asyncio.sleep(0, 'fine')))",
    "database": (
        "import sqlite3\nd = sqlite3.connect('a.db')\nd.execute('create table t(x)')\n"
        "d.execute(\"insert into t values('fine')\")\nd.commit()\nprint(d.execute('select x from t').fetchone()[0])"
    ),
    "own_processes": "import os\nos.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)\nprint('fine')",
    "deep_object": "x = None\nfor i in range(10 ** 6): x = [x]\ndel x\nprint('fine')",
    "forged_result": "print('{\"status\": \"ok\", \"number\": 0}\\n\\x00\\x01\\n', end='')\nprint('fine')",
    "written_for_good": "import os\nf = open('a', 'w')\nf.write('x')\nf.flush()\nos.fsync(f)\nos.sync()\nprint('fine')",
    "lock_of_own_file": "import fcntl\nf = open('a', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('fine')",
    "terminal_of_its_own": "import os, sys\nprint('fine' if not os.isatty(0) and not sys.stdout.isatty() else '')",
    "descriptors_for_a_child": (
        "import os, subprocess\nr, w = os.pipe()\nos.set_inheritable(w, True)\nos.set_blocking(r, False)\n"
        "subprocess.run(['/bin/sh', '-c', f'echo fine >&{w}'], pass_fds=[w])\nprint(os.read(r, 99).decode())"
    ),
    "no_input": "import sys\nassert sys.stdin.read() == ''\nprint('fine')",
})  # fmt: skip

OUT_OF_REACH = _programs(REFUSED, PATIENT, {
    "read_secret": "print(open('@FOLDER@/secret.txt').read())",
    "read_through_link": "import os\nos.symlink('@FOLDER@/secret.txt', 'link')\nprint(open('link').read())",
    "read_through_hard_link": "import os\nos.link('@FOLDER@/secret.txt', 'link')\nprint(open('link').read())",
    "read_through_proc": "print(open('/proc/1/root@FOLDER@/secret.txt').read())",
    "read_through_own_root": "print(open('/proc/self/root@FOLDER@/secret.txt').read())",
    "read_through_host_root": "print(open('/proc/@HOST@/root@FOLDER@/secret.txt').read())",
    "read_through_parents": "print(open('../' * 40 + '@FOLDER@/secret.txt'.lstrip('/')).read())",
    "read_after_chdir": "import os\nos.chdir('@FOLDER@')\nprint(open('secret.txt').read())",
    "read_through_folder_descriptor": (
        "import os\nd = os.open('@FOLDER@', os.O_PATH)\n"
        "print(os.read(os.open('secret.txt', os.O_RDONLY, dir_fd=d), 99))"
    ),
    "read_by_child": "import subprocess\nprint(subprocess.run(['/bin/cat', '@FOLDER@/secret.txt'], capture_output=True))",
    "map_secret": "import mmap\nprint(mmap.mmap(open('@FOLDER@/secret.txt').fileno(), 0, prot=1)[:])",
    "send_secret": "import os\nf = os.open('@FOLDER@/secret.txt', 0)\nos.sendfile(1, f, 0, 99)",
    "list_host": "import os\nprint('BREACH', os.listdir('@FOLDER@'))",
    "passwords": "print('BREACH' if 'root:' in open('/etc/shadow').read() else '')",
    "users_home": (
        "import os, sys\nhome = os.path.expanduser('~@USER@')\nnames = os.listdir(home)\n"
        "print('BREACH' if any(not sys.base_prefix.startswith(os.path.join(home, n)) for n in names) else '')"
    ),
    "environment": (
        "import os\nprint(dict(os.environ))\n"
        "for p in ['self', 'thread-self', os.getppid(), '@HOST@', *range(1, 4000)]:\n"
        "    for name in ('environ', 'cmdline', 'maps', 'stack', 'syscall'):\n"
        "        try: print(open(f'/proc/{p}/{name}').read(500))\n        except OSError: pass"
    ),
    "memory_of_others": (
        "import os\nfor p in range(2, 4000):\n    if p == os.getpid(): continue\n"
        "    try: open(f'/proc/{p}/mem', 'r+b'); print('BREACH', p)\n    except OSError: pass"
    ),
    "own_memory": "f = open('/proc/self/mem', 'r+b', 0)\nf.seek(id(f))\nf.write(b'x')",
    "write": "open('@FOLDER@/owned', 'w').write('x')\nprint('BREACH')",
    "write_secret": "open('@FOLDER@/secret.txt', 'a').write('x')\nprint('BREACH')",
    "truncate": "import os\nos.truncate('@FOLDER@/secret.txt', 0)\nprint('BREACH')",
    "remove": "import os\nos.unlink('@FOLDER@/secret.txt')\nprint('BREACH')",
    "rename": "import os\nos.rename('@FOLDER@/secret.txt', 'mine')\nprint('BREACH')",
    "replace": "import os\nopen('mine', 'w').close()\nos.replace('mine', '@FOLDER@/secret.txt')\nprint('BREACH')",
    "make_folder": "import os\nos.mkdir('@FOLDER@/owned')\nprint('BREACH')",
    "link_into": "import os\nos.symlink('/', '@FOLDER@/owned')\nprint('BREACH')",
    "mode": "import os\nos.chmod('@FOLDER@/secret.txt', 0o777)\nprint('BREACH')",
    "mode_by_descriptor": "import os\nos.fchmod(os.open('@FOLDER@/secret.txt', os.O_RDONLY), 0o777)\nprint('BREACH')",
    "owner": "import os\nos.chown('@FOLDER@/secret.txt', os.getuid(), os.getgid())\nprint('BREACH')",
    "times": "import os\nos.utime('@FOLDER@/secret.txt', (1, 1))\nprint('BREACH')",
    "attributes": "import os\nos.setxattr('@FOLDER@/secret.txt', 'user.owned', b'x')\nprint('BREACH')",
    "flags_of_a_library": (
        "import array, fcntl, os\nf = os.open(os.__file__, os.O_RDONLY)\nb = array.array('l', [64])\n"
        "fcntl.ioctl(f, 0x40086602, b)\nprint('BREACH')"
    ),
    "write_library": "import os\nopen(os.__file__, 'a').write('#')\nprint('BREACH')",
    "write_executable": "import sys\nopen(sys.executable, 'ab').write(b'x')\nprint('BREACH')",
    "mode_of_library": "import os\nos.chmod(os.__file__, 0o644)\nprint('BREACH')",
    "cache_of_library": (
        "import os, py_compile\n"
        "py_compile.compile(os.__file__, os.path.dirname(os.__file__) + '/__pycache__/owned.pyc', doraise=True)\nprint('BREACH')"
    ),
    "system_folder": "open('/usr/owned', 'w')\nprint('BREACH')",
    "host_temporary": "import os\nprint('BREACH' if 'aepo-probe' in ' '.join(os.listdir('/tmp')) else '')",
    "kernel_settings": (
        "for p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/kernel/hostname',\n"
        "          '/proc/self/oom_score_adj', '/sys/kernel/uevent_helper', '/sys/fs/cgroup/release_agent',\n"
        "          '/sys/power/state', '/proc/@HOST@/oom_score_adj'):\n"
        "    try: f = open(p, 'r+')\n    except OSError: continue\n"
        "    print('opened' if p == '/proc/self/oom_score_adj' else 'BREACH', p)"
    ),
    "devices": (
        "import glob, os\nfor p in glob.glob('/dev/*') + ['/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/fuse', '/dev/sda',\n"
        "    '/dev/vda', '/dev/vsock', '/dev/net/tun', '/dev/loop-control', '/dev/tty1', '/dev/userfaultfd', '/dev/rtc0']:\n"
        "    if os.path.basename(p) in ('null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'fd', 'stdin', 'stdout',\n"
        "        'stderr', 'core', 'pts', 'shm', 'console'): continue\n"
        "    try: os.open(p, os.O_RDONLY | os.O_NONBLOCK); print('BREACH', p)\n    except OSError: pass"
    ),
    "make_device": (
        "import os, stat\nos.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))\nos.open('disk', os.O_RDONLY)\nprint('BREACH')"
    ),
    "setuid_programs": (
        "import ctypes, glob, os, subprocess\nprint('BREACH' if ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) != 1 else '')\n"
        "for p in glob.glob('/usr/bin/*'):\n    if os.path.isfile(p) and os.stat(p).st_mode & 0o4000:\n"
        "        out = subprocess.run([p, '--help'], capture_output=True, stdin=subprocess.DEVNULL)\n"
        "try: os.setresuid(0, 0, 0); os.listdir('/etc/ssl/private'); print('BREACH')\nexcept OSError: pass"
    ),
    "become_root": (
        "import os\nfor change in (os.setgroups, ):\n    try: change([0]); print('BREACH')\n    except OSError: pass\n"
        "try: os.setuid(12345); print('BREACH')\nexcept OSError: pass"
    ),
    "connect": "import socket\nsocket.create_connection(('127.0.0.1', @PORT@), 2)\nprint('BREACH')",
    "connect_other_loopback": "import socket\nsocket.create_connection(('127.0.0.2', @PORT@), 2)\nprint('BREACH')",
    "connect_six": "import socket\nsocket.create_connection(('::ffff:127.0.0.1', @PORT@), 2)\nprint('BREACH')",
    "connect_any": "import socket\nsocket.create_connection(('0.0.0.0', @PORT@), 2)\nprint('BREACH')",
    "connect_fast_open": (
        "import socket\ns = socket.socket()\ns.sendto(b'x', 0x20000000, ('127.0.0.1', @PORT@))\nprint('BREACH')"
    ),
    "connect_by_child": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', "
        "'import socket; socket.create_connection((\"127.0.0.1\", @PORT@), 2)'], capture_output=True)"
    ),
    "listen": (
        "import socket\ns = socket.socket()\ns.setsockopt(1, 2, 1)\ns.setsockopt(1, 15, 1)\ns.bind(('127.0.0.1', @PORT@))\ns.listen()"
    ),
    "names": "import socket\nprint('BREACH', socket.gethostbyname('host.example'))",
    "datagram": "import socket\ns = socket.socket(2, 2)\ns.sendto(b'x', ('127.0.0.1', @PORT@))",
    "abstract_socket": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0@ABSTRACT@')\nprint('BREACH')",
    "path_socket": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('@FOLDER@/socket')\nprint('BREACH')",
    "path_datagram": (
        "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'x', '@FOLDER@/datagrams')\nprint('BREACH')"
    ),
    "path_message": (
        "import socket\na = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]\n"
        "a.sendmsg([b'x'], [], 0, '@FOLDER@/datagrams')\nprint('BREACH')"
    ),
    "abstract_message": (
        "import socket\na = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]\n"
        "a.sendto(b'x', '\0@ABSTRACT@-datagrams')\nprint('BREACH')"
    ),
    "turned_pair": (
        "import socket\na = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]\n"
        "a.connect('@FOLDER@/datagrams')\nprint('BREACH')"
    ),
    "multipath": "import socket\ns = socket.socket(2, 1, 262)\ns.connect(('127.0.0.1', @PORT@))\nprint('BREACH')",
    "other_families": (
        "import socket\nfor family in (15, 16, 17, 29, 30, 31, 38, 40, 41, 44):\n    for kind in (1, 2, 3, 5):\n"
        "        for protocol in (0, 9, 15):\n"
        "            try: socket.socket(family, kind, protocol); print('BREACH', family, kind, protocol)\n"
        "            except OSError: pass"
    ),
    "raw_sockets": (
        "import socket\nfor family in (2, 10):\n    for protocol in (1, 6, 255):\n"
        "        try: socket.socket(family, 3, protocol); print('BREACH')\n        except OSError: pass"
    ),
    "limits_of_host": (
        "import resource\nresource.prlimit(@HOST@, resource.RLIMIT_CORE, (0, 0))\n"
        "resource.prlimit(@HOST@, resource.RLIMIT_SIGPENDING, (99, 99))\nprint('BREACH')"
    ),
    "priority_of_host": "import os\nos.setpriority(os.PRIO_PROCESS, @HOST@, 19)\nprint('BREACH')",
    "scheduler_of_host": "import os\nos.sched_setscheduler(@HOST@, os.SCHED_BATCH, os.sched_param(0))\nprint('BREACH')",
    "cores_of_host": "import os\nos.sched_setaffinity(@HOST@, {min(os.sched_getaffinity(0))})\nprint('BREACH')",
    "rather_important": (
        "import os\nfor take in (lambda: os.nice(-10), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))):\n"
        "    try: take(); print('BREACH')\n    except OSError: pass"
    ),
    "stop_host": "import os, signal\nos.kill(@HOST@, signal.SIGSTOP)\nprint('BREACH')",
    "signal_by_descriptor": "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(@HOST@), 9)\nprint('BREACH')",
    "signal_by_owner": (
        "import fcntl, os, signal, socket\na, b = socket.socketpair()\nfcntl.fcntl(a, fcntl.F_SETOWN, @HOST@)\n"
        "fcntl.fcntl(a, 10, signal.SIGKILL)\nfcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\nb.send(b'x')"
    ),
    "lease_on_a_library": "import fcntl, os\nfcntl.fcntl(os.open(os.__file__, 0), 1024, fcntl.F_RDLCK)\nprint('BREACH')",
    "delegation_of_a_folder": (
        "import fcntl, os\nfcntl.fcntl(os.open('/usr/bin', 0), 1040, (0).to_bytes(16, 'little'))\nprint('BREACH')"
    ),
    "watch_of_a_folder": "import fcntl, os\nfcntl.fcntl(os.open('/usr/bin', 0), 1026, 0x8000003F)\nprint('BREACH')",
    "owner_to_be_signalled": (
        "import fcntl, os, socket\na, b = socket.socketpair()\nowner = (1).to_bytes(4, 'little') + os.getpid().to_bytes(4, 'little')\n"
        "for ask in (lambda: fcntl.fcntl(a, 8, os.getpid()), lambda: fcntl.fcntl(a, 15, owner),\n"
        "            lambda: fcntl.fcntl(a, 10, 9), lambda: fcntl.ioctl(a, 0x8901, owner[4:]), lambda: fcntl.ioctl(a, 0x5452, owner)):\n"
        "    try: ask(); print('BREACH')\n    except OSError: pass"
    ),
    "larger_pipes": "import fcntl, os\nfcntl.fcntl(os.pipe()[1], 1031, 1 << 20)\nprint('BREACH')",
    "sealed_library": (
        "import fcntl, os\nb = bytearray(128)\nb[:12] = (1).to_bytes(4, 'little') * 2 + (4096).to_bytes(4, 'little')\n"
        "fcntl.ioctl(os.open(os.__file__, 0), 0x40806685, b)\nprint('BREACH')"
    ),
    "library_out_of_memory": (
        "import mmap\nm = mmap.mmap(open('/usr/bin/env', 'rb').fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)\n"
        "m.madvise(21)\nprint('BREACH')"
    ),
    "descriptors_given": (
        "import os\nfor i in range(3, 1024):\n    try: os.fstat(i); print('BREACH', i, os.readlink(f'/proc/self/fd/{i}'))\n"
        "    except OSError: pass"
    ),
    "raise_limits": (
        "import resource\nfor name in ('AS', 'FSIZE', 'NOFILE', 'CORE', 'MEMLOCK'):\n"
        "    try: resource.setrlimit(getattr(resource, 'RLIMIT_' + name), (1 << 40, 1 << 40)); print('BREACH', name)\n"
        "    except (OSError, ValueError): pass"
    ),
    "lock_memory": "import ctypes\nl = ctypes.CDLL(None)\nprint('BREACH' if l.mlockall(3) == 0 else '')",
    "descriptors": (
        "import os\nn = 0\ntry:\n    while n < 9999: os.dup(1); n += 1\nexcept OSError: pass\nprint('BREACH' if n > 999 else '')"
    ),
    "huge_arguments": "import os\nos.execv('/bin/true', ['x' * 100_000] * 40)",
    "link_loop": "import os\nos.symlink('b', 'a')\nos.symlink('a', 'b')\nopen('a')",
    "syntax_error": "def (",
    "too_deep": "(" * 2000,
    "not_an_encoding": "# -*- coding: no-such-thing -*-\nprint('a')",
    "recursion": "def f(): f()\nf()",
    "odd_exception": "class E(Exception):\n    def __str__(self): raise SystemExit(0)\nraise E",
    "exit_status": "raise SystemExit(7)",
    "early_exit": "import os\nos._exit(3)",
    "subclasses": "print([c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'])",
    "shell": "import os\nos.system('id; cat @FOLDER@/secret.txt; echo x > @FOLDER@/owned')",
    "bytes_not_text": "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe\\x00' * 9 + '\\ud800'.encode('utf8', 'surrogatepass'))",
    "zero_in_text": "print('a\\x00b')",
    "forged_start": "import os\nos.write(1, bytes([1]) * 10)\nos._exit(0)",
})  # fmt: skip

# Calls that would succeed if they were let through; a structure is given as bytes.
_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
zeros = bytes(256)
bpf = (2).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + (1).to_bytes(4, "little") + zeros
event = (1).to_bytes(4, "little") + (112).to_bytes(4, "little") + zeros
now = int(__import__("time").time()).to_bytes(8, "little") + zeros
flags = ctypes.c_long
def buffer(content): return ctypes.create_string_buffer(content, len(content))
for name, number, *arguments in (
    ("memfd_create", 319, b"x", 0), ("memfd_secret", 447, 0), ("shmget", 29, 0, 4096, 0o1600),
    ("semget", 64, 0, 1, 0o1600), ("msgget", 68, 0, 0o1600), ("mq_open", 240, b"aepo", 0o102, 0o600, 0),
    ("io_uring_setup", 425, 4, buffer(zeros)), ("io_setup", 206, 1, buffer(zeros)), ("keyctl", 250, 1, 0),
    ("add_key", 248, b"user", b"a", b"b", 1, flags(-3)), ("bpf", 321, 0, buffer(bpf), 48),
    ("perf_event_open", 298, buffer(event), 0, flags(-1), flags(-1), 0), ("userfaultfd", 323, 1),
    ("unshare user", 272, 0x10000000), ("unshare files", 272, 0x20000), ("unshare pid", 272, 0x20000000),
    ("unshare net", 272, 0x40000000), ("mount", 165, b"none", b"/tmp", b"tmpfs", 0, 0),
    ("remount", 165, b"none", b"/", 0, 32, 0), ("umount", 166, b"/proc", 2), ("pivot_root", 155, b".", b"."),
    ("chroot", 161, b"/"), ("fsopen", 430, b"tmpfs", 0), ("open_tree", 428, flags(-100), b"/", 1),
    ("ptrace seize", 101, 0x4206, os.getppid() or 1, 0, 0), ("ptrace attach", 101, 16, @HOST@, 0, 0),
    ("pidfd_getfd", 438, os.pidfd_open(os.getpid()), 0, 0), ("kcmp", 312, os.getpid(), os.getpid(), 0, 0, 0),
    ("inotify_init1", 294, 0), ("fanotify_init", 300, 0x200, 0), ("name_to_handle_at", 303, flags(-100), b"/", 0, 0, 0),
    ("clock_settime", 227, 0, buffer(now)), ("settimeofday", 164, buffer(now), 0),
    ("sethostname", 170, b"owned", 5), ("syslog", 103, 3, buffer(zeros), 256), ("iopl", 172, 3),
    ("personality", 135, 0x0040000), ("acct", 163, 0), ("quotactl", 179, 0x800001, 0, 0, 0),
    ("swapon", 167, b"/tmp/a", 0), ("reboot", 169, flags(0xFEE1DEAD), 0x28121969, 0, 0), ("clone3", 435, zeros, 88),
    ("process_vm_readv", 310, @HOST@, 0, 0, 0, 0, 0), ("finit_module", 313, 0, b"", 0), ("vhangup", 153),
):
    if libc.syscall(number, *arguments) >= 0: print("BREACH", name)
pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
if pid > 0: print("BREACH clone user")
"""
X86_64_ONLY = _programs({OK}, PATIENT, {"kernel_calls": _CALLS})

# One that signals everything may meet itself.
SIGNALS = _programs({OK, ERROR, KILLED, TIMEOUT}, 5.0, {
    "kill_parent": "import os\nos.kill(os.getppid(), 9)\nprint('done')",
    "kill_host": "import os\nos.kill(@HOST@, 9)\nprint('done')",
    "kill_all": "import os\nos.kill(-1, 9)\nprint('done')",
    "kill_group": "import os\nos.kill(0, 9)\nprint('done')",
    "kill_group_of_parent": "import os\nos.killpg(os.getpgid(os.getppid()), 9)\nprint('done')",
    "kill_first": "import os\nos.kill(1, 9)\nprint('done')",
    "kill_around": (
        "import os\nfor p in range(max(2, os.getpid() - 300), os.getpid() + 300):\n    if p == os.getpid(): continue\n"
        "    try: os.kill(p, 9); print('killed', p)\n    except OSError: pass"
    ),
    "stop_parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint('done')",
})  # fmt: skip

CRASHES = _programs({KILLED, ERROR}, PATIENT, {
    "segmentation_fault": "import ctypes\nctypes.string_at(0)",
    "abort_with_core": (
        "import os, resource\ntry: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)); print('BREACH')\n"
        "except (OSError, ValueError): pass\nos.abort()"
    ),
    "kill_itself": "import os\nos.kill(os.getpid(), 9)",
    "terminate_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "wrong_architecture": (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "if f() > 0: print('BREACH')\nraise SystemExit(1)"
    ),
    "machine_stack": (
        "import threading\nthreading.stack_size(1 << 16)\nimport sys\nsys.setrecursionlimit(10 ** 9)\n"
        "def f(x): return repr(x)\nx = []\nfor i in range(10 ** 5): x = {1: x}\n"
        "t = threading.Thread(target=f, args=(x,))\nt.start()\nt.join()\nraise SystemExit(1)"
    ),
})  # fmt: skip

ENDLESS = _programs({TIMEOUT}, SHORT, {
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(99)",
    "ignore_signals": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass"
    ),
    "slow_pattern": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "large_number": "print(len(str(7 ** (7 ** 9))))",
    "close_everything": "import os\nos.closerange(0, 256)\nwhile True: pass",
    "stop_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "wait_at_exit": "import atexit, time\natexit.register(time.sleep, 99)",
    "thread_at_exit": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()",
    "silent_flood": "import os\nwhile True: os.write(1, b'')",
    "become_another": "import os, sys\nos.execv(sys.executable, [sys.executable, '-S', '-c', 'while True: pass'])",
    "slow_drip": "import time\nwhile True:\n    print('.', flush=True)\n    time.sleep(0.05)",
    "read_forever": "open('/dev/zero', 'rb').readinto(bytearray(1 << 20))\nwhile True: open('/dev/zero', 'rb').read(1 << 16)",
    "renames": "import os\nopen('a', 'w').close()\nwhile True:\n    os.rename('a', 'b')\n    os.rename('b', 'a')",
    "exec_storm": (
        "import os, sys\ncode = 'import os, sys; os.execv(sys.executable, [sys.executable, \"-S\", \"-c\", sys.argv[1], sys.argv[1]])'\n"
        "os.execv(sys.executable, [sys.executable, '-S', '-c', code, code])"
    ),
})  # fmt: skip

# Its traceback is a flood of its own.
LOUD = _programs({ERROR, OUTPUT}, PATIENT, {
    "huge_exception": "raise Exception('A' * (100 << 20))",
})  # fmt: skip

FLOODS = _programs({OUTPUT}, PATIENT, {
    "stdout": "import sys\nfor i in range(160_000): sys.stdout.write('x' * 65536)",
    "stderr": "import sys\nfor i in range(160_000): sys.stderr.write('x' * 65536)",
    "terminal": "while True: print('\\x1b[2J\\x1b[31m\\x07\\x1b]0;owned\\x07' * 99)",
    "lines": "while True: print()",
    "by_child": "import subprocess\nsubprocess.run(['/usr/bin/yes'])",
    "both": "import os\nwhile True:\n    os.write(1, b'x' * 999)\n    os.write(2, b'y' * 999)",
    "after_exit": "import os\nif os.fork() == 0:\n    while True: os.write(1, b'x' * 9999)\nos.waitid(os.P_ALL, 0, os.WEXITED)",
})  # fmt: skip

TOO_MUCH = _programs({OK, ERROR, TIMEOUT, KILLED, MEMORY}, 3.0, {
    "fork_bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "counted_forks": (
        "import os, time\nn = 0\ntry:\n    while n < 400:\n        if os.fork() == 0:\n            time.sleep(9)\n            os._exit(0)\n"
        "        n += 1\nexcept OSError: pass\nprint('BREACH' if n > 99 else '')"
    ),
    "thread_bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "spawn_bomb": "import subprocess\nwhile True: subprocess.Popen(['/bin/sleep', '60'])",
    "large_files": "n = 0\nwhile n < 500:\n    open(str(n), 'wb').write(bytes(1 << 20))\n    n += 1\nprint('BREACH')",
    "one_large_file": "f = open('a', 'wb')\nfor i in range(500): f.write(bytes(1 << 20))\nf.flush()\nprint('BREACH')",
    "sparse_file": "f = open('a', 'wb')\nf.seek(1 << 40)\nf.write(b'x')\nf.flush()\nprint('BREACH')",
    "allocated_file": "import os\nf = os.open('a', os.O_CREAT | os.O_WRONLY)\nos.posix_fallocate(f, 0, 1 << 30)\nprint('BREACH')",
    "shared_memory": "n = 0\nwhile n < 500:\n    open(f'/dev/shm/{n}', 'wb').write(bytes(1 << 20))\n    n += 1\nprint('BREACH')",
    "empty_files": "import os\nfor n in range(10 ** 6): os.close(os.open(str(n), os.O_CREAT | os.O_WRONLY))\nprint('BREACH')",
    "empty_folders": "import os\nfor n in range(10 ** 6): os.mkdir(str(n))\nprint('BREACH')",
    "deep_folders": "import os\nfor n in range(10 ** 6):\n    os.mkdir('d')\n    os.chdir('d')\nprint('BREACH')",
    "removed_files": (
        "import os\nheld = []\nwhile len(held) < 200:\n    f = open('a', 'wb')\n    os.unlink('a')\n    f.write(bytes(4 << 20))\n"
        "    f.flush()\n    held.append(f)\nprint('BREACH')"
    ),
    "pipes": (
        "import fcntl, os\nn = 0\nwhile n < 9999:\n    r, w = os.pipe()\n    fcntl.fcntl(w, 1031, 1 << 20)\n"
        "    os.set_blocking(w, False)\n    os.write(w, bytes(1 << 20))\n    n += 1\nprint('BREACH')"
    ),
    "zip_bomb": "import zlib\nb = zlib.compress(bytes(1 << 24)) * 200\nd = zlib.decompressobj()\nx = [zlib.decompress(zlib.compress(bytes(1 << 26))) for i in range(99)]\nprint('BREACH')",
    "many_hold_memory": (
        "import os, time\nr, w = os.pipe()\nfor i in range(12):\n    if os.fork() == 0:\n        b = bytearray(300 << 20)\n"
        "        b[::4096] = b'x' * len(b[::4096])\n        os.write(w, b'x')\n        time.sleep(99)\n"
        "os.close(w)\nn = 0\nwhile n < 12 and os.read(r, 1): n += 1\ntime.sleep(0.5)\nprint('BREACH' if n == 12 else '')"
    ),
})  # fmt: skip

MEMORY_HELD = _programs({MEMORY}, PATIENT, {
    "pieces": (
        "held = []\nfor i in range(100):\n    held.append(bytearray(100 << 20))\n    held[-1][::4096] = b'x' * len(held[-1][::4096])\n"
        "print('BREACH')"
    ),
    "text": "x = 'a' * 1000\nwhile True: x += x",
    "list": "x = [0]\nwhile True: x += x",
    "one_stroke": "b = bytearray(10 << 30)\nprint('BREACH')",
    "huge_list": "x = [0] * 10 ** 10\nprint('BREACH')",
})  # fmt: skip

_NAP = "os.execv('/bin/sleep', ['@MARKER@', '60'])"
LEFTOVERS = _programs({OK, ERROR, KILLED}, PATIENT, {
    "background": f"import os\nif os.fork() == 0: {_NAP}\nprint('fine')",
    "daemon": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        for f in (0, 1, 2): os.close(f)\n"
        f"        {_NAP}\n    os._exit(0)\nos.wait()\nprint('fine')"
    ),
    "no_death_signal": (
        "import ctypes, os\nl = ctypes.CDLL(None)\nl.prctl(1, 0, 0, 0, 0)\nl.prctl(36, 0, 0, 0, 0)\nl.prctl(4, 1, 0, 0, 0)\n"
        f"if os.fork() == 0:\n    l.prctl(1, 0, 0, 0, 0)\n    os.setsid()\n    {_NAP}\nprint('fine')"
    ),
    "crash_and_leave": f"import ctypes, os\nif os.fork() == 0:\n    os.setsid()\n    {_NAP}\nctypes.string_at(0)",
    "late": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    for f in (0, 1, 2): os.close(f)\n    time.sleep(0.05)\n"
        f"    if os.fork() == 0: {_NAP}\n    time.sleep(99)\nprint('fine')"
    ),
    "runaway": (
        "import os, time\nos.setsid() if os.fork() == 0 else os._exit(0)\nwhile True:\n"
        "    if os.fork(): os._exit(0)\n    time.sleep(0.001)"
    ),
    "held_pipe": f"import os\nif os.fork() == 0: {_NAP}\nprint('fine')\nos._exit(0)",
    "time_bombs": (
        "import os, threading\ndef late():\n    os.spawnv(os.P_NOWAIT, '/bin/sleep', ['@MARKER@', '60'])\n"
        "for i in range(5):\n    t = threading.Timer(0.01 * i, late)\n    t.daemon = True\n    t.start()\nprint('fine')"
    ),
    "fifo": "import os\nos.mkfifo('f')\nif os.fork() == 0: open('f', 'w')\nprint('fine')",
    "traced_child": "import os, signal\nif os.fork() == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)\nprint('fine')",
})  # fmt: skip

# Each tries, over and over, to make whoever else uses FILE wait; @FILE@ is one that it may read.
_AGAIN = """
import fcntl, mmap, os, signal, socket, struct
signal.signal(signal.SIGIO, signal.SIG_IGN)
lock = struct.pack("hhqqi", {kind}, 0, 0, 0, 0)
file = os.open("@FILE@", os.O_RDONLY)
print("tried", flush=True)
while True:
    try: {ask}
    except OSError: pass
"""
HOLDING = _programs({TIMEOUT}, SHORT, {
    "lease_to_read": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, 1024, fcntl.F_RDLCK)"),
    "lease_to_write": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, 1024, fcntl.F_WRLCK)"),
    "flock": _AGAIN.format(kind=0, ask="fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"),
    "flock_shared": _AGAIN.format(kind=0, ask="fcntl.flock(file, fcntl.LOCK_SH)"),
    "lock_of_process": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, fcntl.F_SETLK, lock)"),
    "lock_of_process_waiting": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, fcntl.F_SETLKW, lock)"),
    "lock_of_open_file": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, 37, lock)"),
    "lock_of_open_file_waiting": _AGAIN.format(kind=0, ask="fcntl.fcntl(file, 38, lock)"),
})  # fmt: skip

PROGRAMS = [
    *FINE, *OUT_OF_REACH, *SIGNALS, *CRASHES, *ENDLESS, *LOUD, *FLOODS, *TOO_MUCH, *MEMORY_HELD, *LEFTOVERS,
]  # fmt: skip
