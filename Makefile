# ferrolb. `make` lists what there is to do.
# Build results are kept in the user's cache folder, so that a fresh clone builds only what is new.
cache := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ferrolb
export CARGO_TARGET_DIR ?= $(cache)/target
# The programs that tests, the image and the benchmarks use are one static build: the image has nothing else in it. A target must be
# named for that, so that build scripts and macros stay dynamic.
host := $(shell rustc -vV | sed -n 's/^host: //p')
export bin := $(CARGO_TARGET_DIR)/$(host)/ci
export static := RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" cargo build --profile ci --target $(host)

.PHONY: help demo test check digests build crds schemas manifests image release-images e2e soak fuzz steps bench bins lint unit packages deny
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## the main job on one node, without Kubernetes (root; a few minutes the first time)
	@scripts/packages.sh iproute2 arping ndisc6 curl busybox procps
	@scripts/timed.sh "building ferrolb" env $(static) -p cli --bin ferrolb
	@e2e/demo.sh $(bin)/ferrolb

test: ## everything: lints, units, properties, fuzzing, a real API server and real traffic (root; Go >= 1.25)
	@scripts/test.sh

check: lint unit ## format, lints, unit and property tests: what to run before each commit

lint: ## format and lints; the cores also without their shells
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	for crate in bfd bgp l2 members ownership steer cluster allocator speaker; do cargo check -q -p $$crate --no-default-features || exit 1; done

digests: ## who answers when in the simulated histories, written anew: for a change that is meant to move that
	FERROLB_DIGESTS=write FERROLB_SEEDS=2000 cargo test -q --profile ci -p speaker --no-default-features --test simulation whatever_happens

unit: ## unit and property tests
	cargo test -q --workspace

build: ## the three programs as they are shipped, in target/release
	env -u CARGO_TARGET_DIR cargo build --release --bins

bins: ## the three programs and the rack, as the tests use them
	@scripts/timed.sh "building the programs" env $(static) -q --workspace --bins

crds: ## generate crds/generated anew from the types
	cargo run -q -p crds --bin crdgen

schemas: ## cut the schemas of Kubernetes' kinds anew from its OpenAPI documents (Go >= 1.25)
	@scripts/schemas.sh

manifests: crds ## the CRDs, their copies and the all-in-one manifests, from their sources (Go >= 1.25)
	@scripts/manifests.sh

image: bins ## the images of controller and speaker as OCI archives, and their file systems (root; buildah)
	@scripts/packages.sh buildah binutils
	@scripts/image.sh $(bin) $(bin)/images

release-images: ## the images as they are shipped, optimized over everything (root; buildah; ten minutes)
	@scripts/packages.sh buildah binutils
	@scripts/timed.sh "building the programs of the images" env $(subst --profile ci,--release,$(static)) -q -p allocator -p speaker --bins
	@scripts/image.sh $(CARGO_TARGET_DIR)/$(host)/release $(CARGO_TARGET_DIR)/$(host)/release/images

e2e: image ## scenarios on a real API server; FILTER=name runs some of them (root; Go >= 1.25)
	@scripts/packages.sh $$(cat e2e/packages)
	@e2e/cluster/build.sh >/dev/null
	@e2e/ring/build.sh >/dev/null
	@e2e/metallb/build.sh >/dev/null
	@$(bin)/e2e run $(FILTER)

# The parts of `make soak`: each takes 40 minutes at most, and puts its own figures in the place of the earlier ones.
soak_parts := three ten antrea loss-three loss-ten attacks
.PHONY: soak-simulated $(soak_parts:%=soak-%)
soak: $(if $(ONLY),soak-$(ONLY),$(soak_parts:%=soak-%) soak-simulated) ## failover again and again, loss for half an hour; writes docs/failover-figures.md (root; three hours); ONLY=part: three, ten, antrea, loss-three, loss-ten, attacks, simulated

$(soak_parts:%=soak-%): soak-%: bins build
	@scripts/packages.sh $$(cat e2e/packages)
	@$(bin)/e2e soak --only $* --out $(if $(filter attacks,$*),SECURITY.md,docs/failover-figures.md) --bin-dir target/release

# In portions of half an hour: FERROLB_FIRST_SEED says where one goes on.
soak-simulated:
	FERROLB_HALF_HOURS=$(or $(HALF_HOURS),3000) cargo test -q --profile ci -p speaker --no-default-features --test simulation -- move_nothing --nocapture

fuzz: ## every fuzz target for SECONDS (30)
	@scripts/fuzz.sh $(or $(SECONDS),30)

steps: ## instructions that an octet costs in each parser of what comes from outside, held against their bounds
	@scripts/packages.sh valgrind
	@$(static) -q --workspace --example steps
	@scripts/steps.sh $(bin)/examples/steps

bench: bins build ## measure the programs as shipped and write docs/benchmarks.md
	@scripts/packages.sh $$(cat e2e/packages)
	CRITERION_HOME=$(cache)/criterion cargo bench -q -p bgp --bench wire -- --noplot
	cargo bench -q -p members --bench rest > $(cache)/rest
	@$(bin)/e2e bench --out docs/benchmarks.md --bin-dir target/release --criterion $(cache)/criterion --simulated $(cache)/rest

deny: ## licences, sources, duplicate versions and known weaknesses of the dependencies
	@command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny
	cargo deny --log-level error check licenses bans sources
	@cargo deny fetch db >/dev/null 2>&1 || { echo "the database of advisories cannot be fetched: known weaknesses are not checked"; exit 0; }; \
	cargo deny --log-level error check advisories

packages: ## install what the tests need from Debian
	@scripts/packages.sh $$(cat e2e/packages)
