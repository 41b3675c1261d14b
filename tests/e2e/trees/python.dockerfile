RUN --network=host pip install --no-cache-dir requests==2.32.3 numpy==1.26.4 pandas==2.2.3 nvidia-curand-cu12==10.3.5.147 nvidia-cuda-runtime-cu12==12.4.127
RUN --network=none python3 -m compileall -q -o 0 -o 1 -o 2 /usr/local/lib/python3.11/dist-packages/requests \
    && rm -rf /usr/lib/python3.11/idlelib /usr/bin/pip /usr/local/lib/python3.11/dist-packages/numpy/tests \
    && mv /usr/lib/python3.11/sqlite3 /usr/lib/python3.11/sqlite4 && python3 -m venv --without-pip /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY . /app
