"""Runs inside, around the cells of a session: one interpreter runs them one after the other, and keeps their names.

The source of this file is sent to the sandbox behind that of `notebook`, whose functions are given to `serve`. The host
sends frames: a letter, a length in eight bytes, and the content. "S" seeds `random`, "C" is a cell, and "F" asks for a
copy of this process, with a channel and a stdout of its own. An answer is a length and a text: for a cell, the line
that tells its error, or nothing; for a copy, its process number, which the copy itself sends.
"""

import _socket
import linecache
import os
import random
import sys

LENGTH, TEXT = 8, 2000


def serve(descriptor, prepare, cell, described):
    """Run the cells that come, until the host closes the channel."""
    prepare()
    channel, own, number = opened(descriptor), os.getcwd(), 0
    while True:
        kind, content, descriptors = received(channel)
        text = ""
        if kind == b"S":
            random.seed(int(content))
        elif kind == b"F":
            drawn = random.getstate()
            if not copied():
                for each in descriptors:
                    os.close(each)
                continue
            # Python seeds it anew in each fork.
            random.setstate(drawn)
            channel.close()
            channel, own, text = opened(descriptors[0]), moved(own, content.decode()), str(os.getpid())
            for stream in (1, 2):
                os.dup2(descriptors[1], stream)
            os.close(descriptors[1])
        else:
            number += 1
            text = told(content.decode("utf-8", "surrogatepass"), f"cell{number}.py", cell, described)
        answer = text.encode("utf-8", "backslashreplace")[:TEXT]
        channel.sendall(len(answer).to_bytes(LENGTH, "big") + answer)


def told(source, name, cell, described):
    """Run a cell; the line that tells its error, or nothing."""
    process = os.getpid()
    try:
        error = cell(source, name, remembered)
    except SystemExit as left:
        error = None if left.code in (None, 0) else left
    if os.getpid() != process:
        # It has forked, and this is the child, which ends as it does at the end of a program.
        os._exit(1 if error else 0)
    return "" if error is None else described(error, name).replace("\n", " ")


def remembered(name, source):
    """Keep the text for tracebacks and `inspect`."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)


def opened(descriptor):
    """A socket that programs which the cells start do not get."""
    os.set_inheritable(descriptor, False)
    return _socket.socket(fileno=descriptor)


def received(channel):
    """The next frame, and the descriptors that came with it."""
    head, extra, _, _ = channel.recvmsg(1 + LENGTH, _socket.CMSG_SPACE(8))
    while 0 < len(head) < 1 + LENGTH:
        head += channel.recv(1 + LENGTH - len(head))
    if not head:
        os._exit(0)
    content, size = bytearray(), int.from_bytes(head[1:], "big")
    while len(content) < size:
        content += channel.recv(min(1 << 16, size - len(content))) or os._exit(0)
    packed = b"".join(data for _, _, data in extra)
    descriptors = [int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4)]
    return head[:1], bytes(content), descriptors


def copied():
    """Fork; True in the copy. The copy is a child of the first process, which collects it when it ends."""
    if between := os.fork():
        os.waitpid(between, 0)
        return False
    if os.fork():
        os._exit(0)
    # A signal to a whole group stays among its own processes.
    os.setsid()
    while os.getppid() != 1:
        os.sched_yield()
    return True


def moved(own, name):
    """Copy the folder of this session to one of that name, and stand in it where this session stands in its own."""
    import shutil

    new = os.path.join("/tmp", name)
    inside = os.path.relpath(os.getcwd(), own)
    if own == "/tmp":
        os.mkdir(new)
    else:
        shutil.copytree(own, new, symlinks=True)
    if not inside.startswith(".."):
        os.chdir(os.path.normpath(os.path.join(new, inside)))
    return new
