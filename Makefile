# make run      serve the digits demo on :8080
# make build    .venv with TensorFlow, and target/release/tfweb
# make test     everything the suite needs, and the suite
# make check    formatting, lints, documentation, licences, what is in deploy/
# make image    the container image tfweb
# make bench    tfweb beside plain handlers and a raw session loop
# make models   make the example and test models anew
# make proto    make the Rust code of proto/*.proto anew

PYTHON ?= python3
TENSORFLOW := 2.21.0
PORT ?= 8080

export CARGO_TERM_COLOR ?= auto

.PHONY: run build test check image bench models proto clean

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

test: .venv/tensorflow-$(TENSORFLOW) .venv/test-servers .venv/test-packages .venv-grpc/installed
	cargo test --workspace --locked

check: .venv/check-deploy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed (cargo install cargo-deny): bans, licences and sources not checked'; fi
	.venv/bin/python deploy/check.py

image:
	docker build -t tfweb --build-arg TENSORFLOW_VERSION=$(TENSORFLOW) .

# wrk makes the load (Debian: apt-get install wrk).
bench: build .venv/tensorflow-$(TENSORFLOW)
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y wrk; } || { echo 'make bench needs wrk'; exit 1; }
	cargo build --release --locked --examples
	.venv/bin/python benches/run.py

proto:
	TFWEB_PROTO_WRITE=1 cargo test --locked -p tfweb-proto

models: .venv/models
	.venv/bin/python examples/make_models.py

.venv/tensorflow-$(TENSORFLOW):
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet tensorflow-cpu==$(TENSORFLOW)
	@touch $@

# The stores that the suite starts: S3 and Google Cloud Storage.
.venv/test-servers: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet 'moto[server]==5.2.5' gcp-storage-emulator==2026.7.19
	@touch $@

# What the suite starts beside tfweb, from Debian. Where that cannot be, the tests that need them say that they are skipped.
TEST_PACKAGES := haproxy prometheus default-jdk-headless curl nghttp2-client nodejs
TEST_COMMANDS := haproxy prometheus java curl h2load node
.venv/test-packages: .venv/tensorflow-$(TENSORFLOW)
	@export PATH="$$PATH:/usr/sbin" DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	if (for command in $(TEST_COMMANDS); do command -v $$command || exit 1; done) >/dev/null; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get install -qq -y --no-install-recommends $(TEST_PACKAGES) \
		|| { apt-get update -qq && apt-get install -qq -y --no-install-recommends $(TEST_PACKAGES); }; } && touch $@ \
		|| echo 'Debian packages that could not be installed: $(TEST_PACKAGES)'; \
	else echo 'not installed, which takes root on Debian: $(TEST_PACKAGES)'; fi

# TensorFlow Serving's clients, beside TensorFlow and not into it: they ask for other versions of what it needs.
.venv-grpc/installed: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet --no-deps --target .venv-grpc --upgrade tensorflow-serving-api==$(TENSORFLOW) \
		grpcio-reflection==1.85.1 grpcio-health-checking==1.85.1
	@touch $@

# Kubernetes' schemas; they need no TensorFlow beside them.
.venv/check-deploy:
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet kubernetes-validate==1.37.0
	@touch $@

.venv/models: .venv/tensorflow-$(TENSORFLOW)
	.venv/bin/pip install --quiet scikit-learn
	@touch $@

clean:
	rm -rf target .venv .venv-grpc
