#!/bin/sh
# Makes what the image and compose.yaml are made from, where no registry is reachable: debian:bookworm-slim and haproxy:2.6 from
# Debian's own packages, and tfweb-build-base, which has what a build needs. Needs a Docker engine, root and debootstrap.
#
#   deploy/base-image.sh && docker build --build-arg BUILD_IMAGE=tfweb-build-base .
#
# With RUST=1 this machine's Rust toolchain is put into tfweb-build-base too. Builds trust the certificates that this machine
# trusts: a network without a registry often has a proxy with an authority of its own. The image that runs does not get them.
set -eu
DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT

is_there() {
	docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" 2>/dev/null
}

if ! is_there debian:bookworm-slim; then
	debootstrap --variant=minbase bookworm "$DIR/root" >"$DIR/log" || { cat "$DIR/log"; exit 1; }
	# What the official image leaves out as well.
	(cd "$DIR/root" && rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/* usr/share/info/*)
	tar -C "$DIR/root" -c . | docker import - debian:bookworm-slim
fi

if ! is_there haproxy:2.6; then
	docker build -t haproxy:2.6 - <<-END
		FROM debian:bookworm-slim
		RUN apt-get update && apt-get install -y --no-install-recommends haproxy
	END
fi

mkdir -p "$DIR/build/rust"
cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$DIR/build/trusted.pem"
if [ -n "${RUST-}" ]; then
	SYSROOT=$(rustc --print sysroot)
	cp -a "$SYSROOT/bin" "$SYSROOT/lib" "$DIR/build/rust/"
fi
cat >"$DIR/build/Dockerfile" <<-END
	FROM debian:bookworm-slim
	RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev python3-pip
	COPY trusted.pem /etc/ssl/trusted.pem
	COPY rust /usr/local
	ENV PIP_CERT=/etc/ssl/trusted.pem SSL_CERT_FILE=/etc/ssl/trusted.pem CARGO_HTTP_CAINFO=/etc/ssl/trusted.pem
END
docker build -t tfweb-build-base "$DIR/build"
