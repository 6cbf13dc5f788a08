# Builds an image from scratch with both programs: /log-ingester and /forward.
#
#   docker build --build-arg VERSION="$(git describe --tags --always --dirty)" \
#     --build-arg COMMIT="$(git rev-parse HEAD)" -t log-ingester .
#   docker run -p 127.0.0.1:3002:3002 -v logs:/data log-ingester

# The compiler runs on the build platform and cross-compiles for the target.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY forward/go.mod forward/go.sum forward/
RUN go mod download && go mod download -C forward
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG COMMIT
RUN --mount=type=cache,target=/root/.cache/go-build \
    mkdir -p /out/data && \
    export CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH && \
    flags="-s -w -X main.version=$VERSION -X main.commit=$COMMIT" && \
    go build -trimpath -buildvcs=false -ldflags "$flags" -o /out/ . && \
    go build -C forward -trimpath -buildvcs=false -ldflags "$flags" -o /out/ .

FROM scratch
# CA certificates, for connections to PostgreSQL over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# A new volume gets the owner of the directory that it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/log-ingester /out/forward /
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 3002
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["/log-ingester", "-healthcheck"]
ENTRYPOINT ["/log-ingester"]
ARG VERSION
ARG COMMIT
ARG DATE
LABEL org.opencontainers.image.title="log-ingester" \
      org.opencontainers.image.description="Accepts JSON logs over HTTP and stores what matters in one SQLite file" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.created="$DATE"
