ENV DEBIAN_FRONTEND=noninteractive
RUN --network=host apt-get update && apt-get install -y --no-install-recommends git iputils-ping nano openssh-client sudo
RUN --network=host apt-get purge -y nano python3-pip python3-venv && apt-get autoremove -y && apt-get install -y --no-install-recommends gawk \
    && apt-get purge -y --allow-remove-essential mawk && apt-get install -y --reinstall --no-install-recommends tzdata libc-bin \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN --network=none useradd --create-home --uid 1001 app && usermod -aG sudo app && install -d -o app -g app -m 2775 /srv/app /data \
    && echo kept > /data/kept && chown -R app: /data && chmod 4711 /usr/bin/nproc && rm -rf /usr/share/doc /usr/share/zoneinfo/right
RUN --network=none mkdir /srv/links && cd /srv/links && for n in $(seq 3000); do ln -s /usr/share/nothing/$n $n; done \
    && ln /bin/bash /srv/bash && ln /usr/bin/tar /srv/tar && dpkg-divert --local --rename --add /usr/bin/ping \
    && mv /usr/share/perl5 /usr/share/moved && ln -s moved /usr/share/perl5
VOLUME /data
USER app
WORKDIR /srv/app
CMD ["bash"]
