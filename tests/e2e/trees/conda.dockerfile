# The channels of conda are not package registries that every machine reaches, so conda's layout is made from wheels: packages in
# `pkgs`, each file linked from there into the environment, and `conda-meta` with the list of each package's files.
COPY <<EOF /conda.py
import json, os, pathlib, shutil, subprocess, sys
prefix, python = pathlib.Path("/opt/conda"), "lib/python3.11/site-packages"
for wanted in sys.argv[1:]:
    name, version = wanted.split("==")
    package = prefix / "pkgs" / f"{name}-{version}-py311_0"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-cache-dir", "--target", package / python, wanted], check=True)
    files = []
    for source in sorted(package.rglob("*")):
        path = source.relative_to(package)
        target = prefix / path
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
            files.append(str(path))
    meta = {"name": name, "version": version, "build": "py311_0", "build_number": 0, "channel": "made/here", "files": files,
            "paths_data": {"paths": [{"_path": path, "path_type": "hardlink"} for path in files], "paths_version": 1},
            "link": {"source": str(package), "type": 1}}
    (prefix / "conda-meta").mkdir(exist_ok=True)
    (prefix / "conda-meta" / f"{name}-{version}-py311_0.json").write_text(json.dumps(meta, indent=2))
EOF
RUN --network=host mkdir -p /opt/conda/bin && printf '#!/bin/sh\nPYTHONPATH=/opt/conda/lib/python3.11/site-packages exec /usr/bin/python3 "$@"\n' \
    > /opt/conda/bin/python && chmod 755 /opt/conda/bin/python && python3 /conda.py pyyaml==6.0.2 six==1.16.0 certifi==2024.8.30
RUN --network=host python3 /conda.py idna==3.10 && rm -r /opt/conda/pkgs/six-1.16.0-py311_0
ENV CONDA_PREFIX=/opt/conda
