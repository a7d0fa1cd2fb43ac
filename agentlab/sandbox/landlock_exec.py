"""Confine this process with Landlock, then become a program. Run as a file: `python -I -S landlock_exec.py WORDS -- PROGRAM...`.

WORDS, in pairs:
  open PATH               a folder with all below it, or a file, may be written
  file PATH, folder PATH  the same, and made first, empty and with the time MADE, if it is not there
  around PATH             as open, if it is there, but for what `keep` names
  device PATH             a device, or a folder of such, may be written and controlled, if it is there
  hide PATH               no content below it can be read or written, but for what `open` and `show` name below it
  show PATH               it can be read, also below what is hidden
  keep PATH               what `around` leaves out
  link PATH, to TARGET    made first, if there is nothing at PATH
  network off             no sockets but local ones
  variables FD            what the program, and not this process, finds in its environment besides: --setenv, NAME, VALUE,
                          each with a NUL behind it

Standard library only, and little of it: this is the time that a command waits. A failure is one line that begins with
MARK, and the exit code 1.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys

TYPE_CHECKING = False  # the modules `typing` and `signal` take longer than all else here
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "landlock: "
MADE = 99_999 * 10**9  # ns since 1970: the time of what was made for a command that has not touched it yet
LEAST = 3  # version of Landlock's interface: from here on it holds truncating (Linux 6.2)
SCOPED = 6  # from here on it holds signals and abstract sockets (Linux 6.12)

_WRITE_FILE, _READ_FILE = 1 << 1, 1 << 2
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15  # versions 2, 3, 5
_NET = 0b11  # bind and connect TCP: version 4
_SCOPES = 0b11  # abstract unix sockets and signals: version 6
_FILE = _READ_FILE | _WRITE_FILE | _TRUNCATE
_FOLDER = (
    _FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM | _REFER
)  # no devices: root could reach a disk by one
_HANDLED = _FOLDER | _MAKE_CHAR | _MAKE_BLOCK  # reading folders is not: a rule for one would be one for all below it

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # syscalls, the same on every machine
_VERSION = 1
_BENEATH = 1
_SET_SECCOMP, _SET_NO_NEW_PRIVS = 22, 38  # prctl
_FILTER = 2
_CAP_V3 = 0x20080522
_KEPT = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
"""Capabilities CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE: as under bubblewrap."""
MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Where the network can be cut: the machine's number for the audit, and of its syscall `socket`."""
_IO_URING_SETUP = 425
_X32 = 0x40000000
_LOCAL = (1, 16)  # AF_UNIX, AF_NETLINK
_EPERM, _EAFNOSUPPORT = 1, 97
_SIGPIPE, _SIGXFSZ = 13, 25

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Of the kernel's interface. Raises OSError: it has none, or it is switched off."""
    return _called(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def around(top: str, avoided: Iterable[str]) -> Iterator[str]:
    """What together is all below `top` but the avoided paths and the folders on the way to them."""
    inner = [path for path in avoided if _below(path, top)]
    if not inner:
        yield top
    elif top not in inner:
        names = {path[len(top.rstrip("/")) + 1 :].partition("/")[0] for path in inner}
        try:
            names.update(os.listdir(top))  # noqa: PTH208 - no pathlib here
        except OSError:
            pass  # not to be listed: what is asked for by name is found all the same
        for name in sorted(names):
            yield from around(f"{top.rstrip('/')}/{name}", inner)


def confine(words: list[str]) -> None:
    asked = _pairs(words)
    for path, target in zip(asked["link"], asked["to"], strict=True):
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
            os.symlink(target, path)  # noqa: PTH211
    for path in asked["file"] + asked["folder"]:
        _make(path, folder=path in asked["folder"])
    abi = version()
    control = _IOCTL_DEV if abi >= 5 else 0
    handled = [_HANDLED | control]
    if abi >= 4:
        handled.append(_NET if asked["network"] else 0)
    if abi >= SCOPED:
        handled.append(_SCOPES)
    attributes = struct.pack(f"={len(handled)}Q", *handled)
    rules = _called(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    hidden = asked["hide"]
    for path in around("/", [*hidden, "/dev"]):
        _allow(rules, path, _READ_FILE, surely=False)
    for path in asked["show"]:
        _allow(rules, path, _READ_FILE, surely=True)
    for path in asked["device"]:
        _allow(rules, path, _FILE | control, surely=False)
    for path in asked["around"]:
        if not any(_below(path, other) for other in hidden):
            for part in around(path, [*hidden, *asked["keep"]]):
                _allow(rules, part, _FOLDER, surely=False)
    for path in asked["open"] + asked["file"] + asked["folder"]:
        for part in around(path, [other for other in hidden if other != path]):
            _allow(rules, part, _FOLDER, surely=part == path)
    for fd in asked["variables"]:
        _find(int(fd))
    _drop_capabilities()
    _called(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _called(_libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint32(0)))
    os.close(rules)
    if asked["network"]:
        _cut_network()


def _pairs(words: list[str]) -> dict[str, list[str]]:
    kinds = ("open", "file", "folder", "around", "device", "hide", "show", "keep", "link", "to", "network", "variables")
    asked: dict[str, list[str]] = {kind: [] for kind in kinds}
    for kind, value in zip(words[::2], words[1::2], strict=True):
        asked[kind].append(value)
    return asked


def _find(fd: int) -> None:
    with os.fdopen(fd, "rb") as file:
        words = file.read().split(b"\0")[:-1]
    for name, value in zip(words[1::3], words[2::3], strict=True):
        os.environb[name] = value


def _make(path: str, *, folder: bool) -> None:
    above, _, name = path.rpartition("/")
    fd = _there(above)
    try:
        if folder:
            os.mkdir(name, dir_fd=fd)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=fd))
        os.utime(name, ns=(MADE, MADE), dir_fd=fd, follow_symlinks=False)
    except FileExistsError:
        pass
    finally:
        os.close(fd)


def _there(path: str) -> int:
    """A descriptor of exactly that place. Raises OSError: there is none, or a link leads elsewhere by now."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISLNK(os.fstat(fd).st_mode) or os.readlink(f"/proc/self/fd/{fd}") != path:  # noqa: PTH115
        os.close(fd)
        raise OSError(f"{path} is not where it was")
    return fd


def _allow(rules: int, path: str, rights: int, *, surely: bool) -> None:
    """surely: raises OSError if it cannot be, or if a link stands in the way by now; otherwise it stays closed."""
    try:
        fd = _there(path) if surely else os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if surely:
            raise
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE | _IOCTL_DEV
        rule = struct.pack("=Qi", rights, fd)
        if _libc.syscall(_ADD_RULE, rules, _BENEATH, rule, ctypes.c_uint32(0)) and surely:
            raise OSError(f"{path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def _drop_capabilities() -> None:
    """What root keeps is for files of others. With no_new_privs, no program gets back what is dropped here."""
    header = struct.pack("=Ii", _CAP_V3, 0)
    held = ctypes.create_string_buffer(24)
    _called(_libc.capget(header, held))
    low = struct.unpack("=6I", held.raw)[1] & _KEPT
    _called(_libc.capset(header, struct.pack("=6I", low, low, 0, 0, 0, 0)))


def _cut_network() -> None:
    """No socket but local ones can be made, of any protocol, and no ring that would make one unseen."""
    machine, socket = MACHINES[os.uname().machine]
    allow, deny, none = 0x7FFF0000, 0x00050000 | _EPERM, 0x00050000 | _EAFNOSUPPORT
    load, equal, least, answer = 0x20, 0x15, 0x35, 0x06
    program = [
        (load, 0, 0, 4),  # the machine that the call is of
        (equal, 0, 8, machine),
        (load, 0, 0, 0),  # its number
        (least, 6, 0, _X32),
        (equal, 5, 0, _IO_URING_SETUP),
        (equal, 0, 5, socket),
        (load, 0, 0, 16),  # its first argument
        (equal, 3, 0, _LOCAL[0]),
        (equal, 2, 0, _LOCAL[1]),
        (answer, 0, 0, none),
        (answer, 0, 0, deny),
        (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    _called(_libc.prctl(_SET_SECCOMP, _FILTER, described, 0, 0))


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _called(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main() -> None:
    at = sys.argv.index("--")
    program = sys.argv[at + 1 :]
    named = ""
    try:
        confine(sys.argv[1:at])
        for number in (_SIGPIPE, _SIGXFSZ):
            _libc.signal(number, None)  # Python ignores them, and what we become would too
        named = program[0]
        os.execvp(named, program)  # noqa: S606 - an argv list, and no shell
    except OSError as error:
        named = named or error.filename
        sys.stderr.write(f"{MARK}{named + ': ' if named else ''}{error.strerror or error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
