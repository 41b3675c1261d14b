# pip, and a package with an entry point
RUN --network=host pip install --no-cache-dir --root-user-action=ignore uv==0.5.11 requests==2.32.3 zope.interface==7.2 ruamel.yaml==0.18.6 setuptools==75.6.0 wheel==0.45.1
ENV UV_NATIVE_TLS=1
# uv, whose files are links into its cache, and as copies without one
RUN --network=host uv venv -q /opt/linked && uv pip install -q --python /opt/linked/bin/python --compile-bytecode attrs==24.2.0 pyyaml==6.0.2
RUN --network=host uv venv -q /opt/copied && uv pip install -q --no-cache --python /opt/copied/bin/python --compile-bytecode attrs==24.2.0 pyyaml==6.0.2
# An editable installation, compiled
RUN --network=none mkdir -p /src/mine && cd /src && printf 'VALUE = 1\n' > mine/__init__.py && \
    printf '[project]\nname = "mine"\nversion = "1.0"\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n' > pyproject.toml && \
    pip install --root-user-action=ignore --no-build-isolation --no-index -e . && python3 -m compileall -q mine
# Bytecode with hashes, some that is out of date, and none
RUN --network=none cd /usr/local/lib/python3.11/dist-packages && \
    python3 -m compileall -q -f --invalidation-mode unchecked-hash idna && python3 -m compileall -q -f --invalidation-mode checked-hash certifi && \
    touch -d 2020-01-01 charset_normalizer/api.py && rm -r urllib3/util/__pycache__
# A zipped egg
RUN --network=none cd /usr/local/lib/python3.11/dist-packages && \
    python3 -c "import zipfile; zipfile.ZipFile('egged-1-py3.11.egg', 'w').writestr('egged.py', 'X = 1')" && echo ./egged-1-py3.11.egg > egged.pth
USER 1000
