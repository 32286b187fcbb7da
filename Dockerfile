# The image of the provider, for the classic builder and for BuildKit. `make image` puts bin/kind and bin/docker-cli there, in the
# versions that tools/ pins, and builds the image.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
# Two environments without pip: one for the image, and one to build the project's wheel.
RUN python3 -m venv --without-pip /opt/capk && python3 -m venv --without-pip /opt/build
COPY requirements /src/requirements
RUN python3 -m pip --python /opt/capk/bin/python install --no-compile --require-hashes -r /src/requirements/run.txt \
 && python3 -m pip --python /opt/build/bin/python install --no-compile --require-hashes -r /src/requirements/build.txt
COPY pyproject.toml README.md LICENSE /src/
COPY capk /src/capk
RUN cd /src && /opt/build/bin/python -c "from setuptools import build_meta; build_meta.build_wheel('/tmp')" \
 && python3 -m pip --python /opt/capk/bin/python install --no-compile --no-deps --no-index /tmp/*.whl \
 # The typed calls of the Kubernetes client, 80 MB of generated code, are never imported: the provider sends its own.
 && rm -r /opt/capk/lib/python3.*/site-packages/kubernetes/client/api \
          /opt/capk/lib/python3.*/site-packages/kubernetes/aio/client/api \
 # Compiled once, here: at run time the file system is read-only. Of the Kubernetes client, only what a login with a
 # kubeconfig imports; a pod with its service account imports nothing of it.
 && /opt/capk/bin/python -m compileall -q -x /kubernetes/ /opt/capk/lib \
 && /opt/capk/bin/python -c "import capk.cli, capk.manager.process, capk.kube.kubeconfiglogin"
COPY bin/kind /usr/local/bin/kind
COPY bin/docker-cli /usr/local/bin/docker
ARG KIND_VERSION=v0.33.0
RUN kind version && kind version | grep -qF "kind ${KIND_VERSION} " && docker --version

FROM ${BASE_IMAGE}
# tini: the first process of a container inherits orphaned processes, for example those of a killed kind, and has to reap them.
# openssh-client: docker reaches the engine of a KINDEngineClass with ssh://, and ssh refuses to run for a user without a name.
RUN apt-get -qq update && apt-get -qq install --no-install-recommends tini openssh-client >/dev/null \
 && echo 'capk:x:65532:65532::/var/run/capk:/usr/sbin/nologin' >> /etc/passwd \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/apt /var/log/dpkg.log
# Contains nothing that builds or installs, so an intruder finds no pip.
RUN python3 -c "import importlib.util as u, pathlib, shutil; \
[shutil.rmtree(p) for n in ('pip', 'setuptools', 'wheel', 'pkg_resources', '_distutils_hack', 'ensurepip') \
 for s in [u.find_spec(n)] if s for p in s.submodule_search_locations]" \
 && rm -f /usr/bin/pip* /usr/local/bin/pip* /usr/local/bin/wheel \
 && mkdir -p -m 1777 /var/run/capk
COPY --from=build /usr/local/bin/kind /usr/local/bin/docker /usr/local/bin/
COPY --from=build /opt/capk /opt/capk
# Cluster API's Tilt environment runs /manager, whatever the Deployment names.
RUN printf '#!/bin/sh\nexec tini -s -- /opt/capk/bin/capk run "$@"\n' >/manager && chmod 755 /manager
# A user name for any user number: most numbers have none, and kopf asks for one.
ENV PATH=/opt/capk/bin:/usr/local/bin:/usr/bin:/bin \
    LOGNAME=capk \
    HOME=/var/run/capk \
    TMPDIR=/var/run/capk \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=dev
LABEL org.opencontainers.image.title="cluster-api-provider-kind" \
      org.opencontainers.image.description="Cluster API infrastructure provider for kind clusters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
USER 65532:65532
ENTRYPOINT ["/manager"]
