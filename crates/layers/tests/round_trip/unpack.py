"""Puts the tar on stdin over the tree at argv[1] by the rules that containerd and Docker follow:
https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#applying-changesets"""

import os
import shutil
import stat
import sys
import tarfile

root = sys.argv[1]


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def apply(member, path):
    """In containerd's order: owner, extended attributes, mode, times."""
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            value = value.encode("utf-8", "surrogateescape")
            os.setxattr(path, key.removeprefix("SCHILY.xattr."), value, follow_symlinks=False)
        else:
            assert key in ("path", "linkpath", "uid", "gid", "size", "mtime"), key
    if not os.path.islink(path):
        os.chmod(path, member.mode)
    os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)


directories = []
seen, seen_directories = set(), set()
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", encoding="utf-8") as archive:
    for member in archive:
        assert member.name not in seen, f"{member.name!r} twice"
        seen.add(member.name)
        assert not member.name.startswith(("/", "./", "../")), member.name
        assert not member.uname and not member.gname
        path = os.path.join(root, member.name)
        above, name = os.path.split(path)
        assert above == root or above in seen_directories, f"{path!r} before its directory"
        if name.startswith(".wh."):
            assert (member.size, member.mode, member.mtime) == (0, 0, 0)
            remove(os.path.join(above, name.removeprefix(".wh.")))
            continue
        if not (member.isdir() and os.path.isdir(path) and not os.path.islink(path)):
            remove(path)
        if member.isdir():
            if not os.path.isdir(path):
                os.mkdir(path)
            directories.append((path, member))
            seen_directories.add(path)
        elif member.islnk():
            os.link(os.path.join(root, member.linkname), path, follow_symlinks=False)
        elif member.issym():
            os.symlink(member.linkname, path)
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        else:
            assert member.type == tarfile.REGTYPE, member.type
            with open(path, "xb") as file:
                shutil.copyfileobj(archive.extractfile(member), file)
        apply(member, path)
# What was put into them has changed their times.
for path, member in directories:
    os.utime(path, (member.mtime, member.mtime))
