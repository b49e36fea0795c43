# docker build -t tfweb .                                 CPU, on x86-64 or arm64
# docker build -t tfweb --build-arg TENSORFLOW=tensorflow \
#     --build-arg RUN_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04 .      GPU; not tried
#
# docker run --read-only --tmpfs /tmp -v $PWD/models:/models:ro -e TFWEB_MODEL=/models/mine -p 8080:8080 tfweb
ARG BUILD_IMAGE=rust:1-slim-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

# The manifests, and every target that they name as an empty program. It stays the same while only sources change, so that the
# layer of dependencies below is used again.
FROM ${BUILD_IMAGE} AS manifests
COPY . /tfweb
WORKDIR /tfweb
RUN rm -rf target && find . -type f ! -name 'Cargo.*' ! -name main.rs ! -name lib.rs ! -name build.rs ! -path './benches/*' -delete \
    && for file in $(find . -name '*.rs'); do echo 'fn main() {}' >"$file"; done && find . -type d -empty -delete

FROM ${BUILD_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev python3-pip
# The wheel, and the version that the tests run on. The image has the C library of it and the library that it needs, no more.
# Empty: tensorflow-cpu, or tensorflow on ARM, where there is no tensorflow-cpu.
ARG TENSORFLOW
ARG TENSORFLOW_VERSION=2.21.0
RUN if [ "$(uname -m)" = x86_64 ]; then WHEEL=tensorflow-cpu; else WHEEL=tensorflow; fi \
    && mkdir -p /image/lib /wheel && pip download --no-deps --dest /wheel "${TENSORFLOW:-$WHEEL}==${TENSORFLOW_VERSION}" \
    && python3 -m zipfile -e /wheel/*.whl /wheel/files \
    && mv /wheel/files/tensorflow/libtensorflow_cc.so.2 /wheel/files/tensorflow/libtensorflow_framework.so.2 /image/lib \
    && rm -r /wheel
# A tfweb that was built outside, on this Debian or an older one: its path within the build context. Empty: it is built here.
ARG BINARY
WORKDIR /tfweb
COPY --from=manifests /tfweb .
# What cargo knows of the empty programs is deleted: it tells what is new by files' times, and a source may be older than this.
RUN [ -n "${BINARY}" ] || { cargo build --profile dist --features hdfs-native --locked && rm -r target/dist/.fingerprint/tfweb*; }
COPY . .
RUN if [ -z "${BINARY}" ]; then cargo build --profile dist --features hdfs-native --locked && BINARY=target/dist/tfweb; fi \
    && install -D --strip "${BINARY}" /image/bin/tfweb

FROM ${RUN_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/ /usr/local/
# tfweb writes below /tmp alone, so that the rest can be read-only and the user any number.
ENV TFWEB_TENSORFLOW_LIB=/usr/local/lib \
    TFWEB_CACHE_DIR=/tmp/tfweb \
    TFWEB_DRAIN_DELAY_MS=5000
USER 1000:1000
EXPOSE 8080 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=120s --retries=3 CMD ["tfweb", "--healthcheck"]
ENTRYPOINT ["tfweb"]
