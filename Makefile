# make run            serve the digits demo on :8080
# make build          .venv with TensorFlow, and target/release/tfweb
# make test           everything the suite needs, and the suite
# make memcheck       the engine's tests under valgrind, which checks what its unsafe code does with memory
# make check          formatting, lints, documentation, licences, the files in deploy/ and .github/
# make image          the container image tfweb
# make wheel          the Python wheel, in target/wheels
# make bench          tfweb beside plain handlers and a raw session loop
# make fuzz           fuzz each target for FUZZ_SECONDS, or FUZZ_TARGET alone (nightly Rust and cargo-fuzz)
# make soak           checked and hostile clients at once for minutes; SOAK="--worst" for the worst attacks in 4 GiB
# make models         make the example and test models anew
# make proto          make the Rust code of proto/*.proto anew
# make requirements   say what this machine lacks to build tfweb; the targets above ask this first
# make clean          remove everything that was built or installed here

PYTHON ?= python3
TENSORFLOW := 2.21.0
PORT ?= 8080
IMAGE ?= tfweb
# How to become root for apt-get, such as `sudo`. Without it `make test` installs Debian packages only if it runs as root.
SUDO ?=

# The smaller wheel, tensorflow-cpu, is there for Linux on x86-64 and not for Linux on ARM nor for macOS.
TENSORFLOW_WHEEL := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),tensorflow-cpu,tensorflow)

export CARGO_TERM_COLOR ?= auto

.PHONY: run build test memcheck check image wheel bench fuzz soak models proto requirements clean

run: build
	@echo
	@echo 'Serving examples/digits on :$(PORT). In another terminal:'
	@echo
	@echo "  curl -d '{\"image\": {\"url\": \"http://localhost:$(PORT)/web/7.png\"}}' localhost:$(PORT)/predict"
	@echo
	target/release/tfweb --model examples/digits --batch_transpose --port $(PORT) \
		--static_path examples/digits_images --url_allow localhost:$(PORT)

build: .venv/tensorflow-$(TENSORFLOW)
	cargo build --release --locked

test: .venv/tensorflow-$(TENSORFLOW) .venv/test-servers .venv/test-packages .venv-grpc/installed .venv-clients/installed
	cargo test --workspace --locked --features hdfs-native

# The tests use a fake of TensorFlow's C API, so this needs no libtensorflow.
memcheck:
	@command -v valgrind >/dev/null || { echo 'make memcheck needs valgrind (Debian: apt-get install valgrind)'; exit 1; }
	cargo test --locked -p tfweb-engine --lib --config 'target."cfg(unix)".runner = $(VALGRIND)' -- --test-threads=1
VALGRIND := ["valgrind", "--quiet", "--error-exitcode=1", "--leak-check=full", "--show-leak-kinds=definite", \
	"--errors-for-leak-kinds=definite"]

check: .venv/check-deploy .venv/check-github
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed (cargo install cargo-deny): bans, licences and sources not checked'; fi
	.venv/bin/python deploy/check.py
	.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

image:
	docker build -t $(IMAGE) --build-arg TENSORFLOW_VERSION=$(TENSORFLOW) .

wheel: | .venv/bin/python
	.venv/bin/pip wheel --no-deps --wheel-dir target/wheels .

# Measures what the image and the wheel have. wrk makes the load (Debian: apt-get install wrk).
bench: .venv/tensorflow-$(TENSORFLOW)
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y wrk; } || { echo 'make bench needs wrk'; exit 1; }
	cargo build --profile dist --locked
	cargo build --profile dist --locked --examples
	.venv/bin/python benches/run.py

FUZZ_SECONDS ?= 1800
FUZZ_TARGET ?= $(notdir $(wildcard fuzz/corpus/*))
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo 'make fuzz needs cargo-fuzz: cargo install cargo-fuzz, and nightly Rust'; exit 1; }
	cd fuzz/libfuzzer && cargo +nightly fuzz build --fuzz-dir . --sanitizer none any
	cd fuzz/libfuzzer && for target in $(FUZZ_TARGET); do \
		mkdir -p corpus/$$target artifacts/$$target && FUZZ_TARGET=$$target target/*/release/any corpus/$$target ../corpus/$$target \
			-artifact_prefix=artifacts/$$target/ -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 || exit 1; \
	done

soak: build .venv-grpc/installed
	.venv/bin/python tests/soak/soak.py $(SOAK)

proto:
	TFWEB_PROTO_WRITE=1 cargo test --locked -p tfweb-proto

models: .venv/models
	.venv/bin/python examples/make_models.py

# Python is looked at only while TensorFlow is still to be installed.
requirements:
	@.ci/requirements $(TENSORFLOW) $(if $(wildcard .venv/tensorflow-$(TENSORFLOW)),,$(or $(wildcard .venv/bin/python),$(PYTHON)))

.venv/bin/python: | requirements
	$(PYTHON) -m venv .venv

.venv/tensorflow-$(TENSORFLOW): | .venv/bin/python
	.venv/bin/pip install --quiet $(TENSORFLOW_WHEEL)==$(TENSORFLOW)
	@touch $@

# The stores that the suite starts: S3 and Google Cloud Storage.
.venv/test-servers: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet 'moto[server]==5.2.5' gcp-storage-emulator==2026.7.19
	@touch $@

# Programs that the suite starts beside tfweb. Where they are missing, the tests that need them say that they are skipped.
TEST_PACKAGES := haproxy nginx caddy prometheus default-jdk-headless curl nghttp2-client nodejs
TEST_COMMANDS := haproxy nginx caddy prometheus java curl h2load node
# RUNLEVEL: nothing that is installed is started.
APT_GET := $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -y
.venv/test-packages: .venv/tensorflow-$(TENSORFLOW)
	@export PATH="$$PATH:/usr/sbin"; \
	if (for command in $(TEST_COMMANDS); do command -v $$command || exit 1; done) >/dev/null; then touch $@; \
	elif { [ "$$(id -u)" = 0 ] || [ -n '$(SUDO)' ]; } && command -v apt-get >/dev/null; then \
		{ $(APT_GET) install --no-install-recommends $(TEST_PACKAGES) \
		|| { $(APT_GET) update && $(APT_GET) install --no-install-recommends $(TEST_PACKAGES); }; } && touch $@ \
		|| echo 'Debian packages that could not be installed: $(TEST_PACKAGES)'; \
	else echo 'not installed, which takes root on Debian: $(TEST_PACKAGES)'; fi

# TensorFlow Serving's clients, beside TensorFlow and not into it: they ask for other versions of what it needs.
.venv-grpc/installed: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet --no-deps --target .venv-grpc --upgrade tensorflow-serving-api==$(TENSORFLOW) \
		grpcio-reflection==1.85.1 grpcio-health-checking==1.85.1
	@touch $@

# Other clients of TensorFlow Serving. min-tfs-client has messages of its own under TensorFlow's names, made for an older protobuf, so it
# has an environment of its own.
.venv-clients/installed: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/python -m venv .venv-clients
	.venv-clients/bin/pip install --quiet min-tfs-client==1.0.2 protobuf==3.20.3 grpcio==1.85.3 numpy==1.26.4
	@if command -v npm >/dev/null; then \
		npm install --silent --no-audit --no-fund --prefix .venv-clients @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1; \
	else echo 'not installed, which takes npm: @grpc/grpc-js'; fi
	@touch $@

# The schemas of Kubernetes and of GitHub. They need no TensorFlow beside them.
.venv/check-deploy: | .venv/bin/python
	.venv/bin/pip install --quiet kubernetes-validate==1.37.0
	@touch $@

.venv/check-github: | .venv/bin/python
	.venv/bin/pip install --quiet check-jsonschema==0.39.0
	@touch $@

.venv/models: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet scikit-learn
	@touch $@

clean:
	rm -rf target .venv .venv-grpc .venv-clients
