LABEL "quoted label"="with \"quotes\" and \$dollars" other=1
RUN --network=none <<EOF python3
import os, stat, time
os.makedirs("/odd/to-file/deep/down"); os.makedirs("/odd/stays"); os.makedirs("/odd/emptied/a/b"); os.makedirs("/odd/again/a")
open("/odd/to-directory", "w").write("a file at first")
open("/odd/stays/original", "w").write("x" * 70000)
open("/odd/emptied/a/b/file", "w").close()
open("/odd/again/a/old", "w").close(); open("/odd/again/old", "w").close()
os.symlink("stays", "/odd/link-to-directory")
EOF
RUN --network=none <<EOF python3
import os, shutil, stat
def write(path, content=b"", mode=0o644):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
os.chdir("/odd")
shutil.rmtree("to-file"); write("to-file", b"now a file")
os.unlink("to-directory"); os.makedirs("to-directory/deep"); write("to-directory/deep/file")
shutil.rmtree("emptied/a")
shutil.rmtree("again"); os.makedirs("again/a"); write("again/a/new")
os.unlink("link-to-directory"); os.makedirs("link-to-directory/now")
os.link("stays/original", "linked-to-a-lower-layer")
write(b"not\xffutf\xfe8", b"odd"); write("line\nfeed", b"line feed\n"); write("b\\ackslash"); write(" spaces "); write("t\tab"); write("x.wh.y")
write("-rf"); write("ünï→"); write("é"); write("e\u0301")
deep = "/".join(["d" * 200] * 5); os.makedirs(deep); write(deep + "/" + "n" * 250, b"far down")
os.symlink("t" * 3000, "long-target"); os.symlink("../../../../../../etc/shadow", "outwards"); os.symlink("/", "root"); os.symlink("loop", "loop")
write("empty"); write("a" * 100, b"100"); write("a" * 101, b"101")
with open("sparse", "wb") as file:
    file.seek(30_000_000); file.write(b"end")
write("setuid", b"#!/bin/sh\n", 0o4755); write("setgid", b"", 0o2755); os.mkdir("sticky"); os.chmod("sticky", 0o1777); write("nothing", b"", 0)
os.mkfifo("fifo"); os.chmod("fifo", 0o601)
os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3)); os.mknod("block", stat.S_IFBLK | 0o660, os.makedev(300, 70000 & 0xff))
write("far"); os.chown("far", 2_097_152, 4_000_000_000); os.symlink("x", "far-link"); os.lchown("far-link", 65534, 7)
for name, when in [("before", -86400.5), ("epoch", 0), ("late", 4_000_000_000.75)]:
    write("time-" + name); os.utime("time-" + name, (when, when))
capability = bytes.fromhex("0100000200200000000000000000000000000000")
write("capable", b"x"); os.setxattr("capable", "security.capability", capability); os.link("capable", "capable-too")
write("attributes"); os.setxattr("attributes", "user.note", b"dropped"); os.mkdir("attributes-too"); os.setxattr("attributes-too", "user.note", b"dropped")
for n in range(50):
    write(f"first-{n}", str(n).encode()); os.link(f"first-{n}", f"second-{n}")
import socket
socket.socket(socket.AF_UNIX).bind("/odd/socket")
EOF
RUN --network=none rm -rf /usr/lib/python3.11/idlelib /usr/share/python3 && mkdir /usr/share/python3 && touch /usr/share/python3/only && chmod 700 /usr/lib/python3 \
    && chown 5:5 /home /srv && rm /etc/motd; rm -rf /opt && ln -s /odd /opt; touch -d @1000000000 /media /mnt
