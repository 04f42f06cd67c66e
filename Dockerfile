# The worker: `docker build -t leaderboard-consumer .`, then `docker run` as the README says.
#
# In a network with its own certificate authority or package index, pass them as secrets, which stay out of the
# image: `--secret id=ca,src=bundle.pem --secret id=index,src=index.env` (lines such as UV_INDEX_URL=... PIP_INDEX_URL=...).

# A Debian-like base with Python 3.11 or later, its venv and certificates; both stages use the same one.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never

# uv, and what builds the wheel: locked, and left behind in this stage.
COPY requirements-image.txt .
RUN --mount=type=secret,id=ca --mount=type=secret,id=index \
    set -a; [ ! -f /run/secrets/index ] || . /run/secrets/index; \
    [ ! -f /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca; \
    python3 -m venv tools && tools/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes -r requirements-image.txt

# What the worker needs at run time: locked, each file with its hash. Of the SDK's descriptions of AWS services only those
# stay that it calls: DynamoDB, and the sources of credentials.
COPY requirements.txt .
RUN --mount=type=secret,id=ca --mount=type=secret,id=index \
    set -a; [ ! -f /run/secrets/index ] || . /run/secrets/index; \
    [ ! -f /run/secrets/ca ] || export SSL_CERT_FILE=/run/secrets/ca; \
    tools/bin/uv venv --quiet --python "$(command -v python3)" /app \
    && tools/bin/uv pip install --quiet --python /app --require-hashes -r requirements.txt \
    && find /app/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name dynamodb ! -name dynamodbstreams ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +

COPY . .
RUN tools/bin/python -m hatchling build --target wheel --directory dist \
    && tools/bin/uv pip install --quiet --offline --python /app --no-deps dist/*.whl \
    && rm -f /app/.lock


FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="leaderboard-consumer" \
      org.opencontainers.image.description="An exactly-once leaderboard consumer for DynamoDB Streams" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /app /app
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CONSUMER_HTTP_HOST=0.0.0.0

# A number, so that an orchestrator sees that it is not root. It owns no file: everything here is read-only for it.
USER 10001:10001
EXPOSE 9464
# ECS uses the health check of the task definition. A start may take a while when AWS does not answer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/app/bin/consumer", "healthcheck"]
# An image cannot set it: give the container a stop timeout of 30 s, as compose.yaml and the ECS template do. A worker drains
# within 20 s. Docker's own default is 10 s.
STOPSIGNAL SIGTERM
# No shell: SIGTERM reaches the worker itself, from its first statement on; `--init` covers the moments before.
ENTRYPOINT ["/app/bin/consumer"]
CMD ["run"]
