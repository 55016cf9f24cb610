# Every job of this repository. `make` alone lists them.
#
# The scripts behind `run` and `test` install what is missing with apt-get, through sudo where you are not root.

SWIFT ?= swift
# Seconds that `make fuzz` spends on each target.
FUZZ_SECONDS ?= 60

# Where both builds differ from the default: the unit tests' build refuses an import of a target that Package.swift does
# not declare; the release binary carries Swift's libraries, so that it runs where Swift is not installed.
DEBUG_FLAGS := --explicit-target-dependency-import-check error
RELEASE_FLAGS := -c release --static-swift-stdlib --product gatehouse
export SWIFT DEBUG_FLAGS RELEASE_FLAGS FUZZ_SECONDS

.DEFAULT_GOAL := help
.PHONY: help run build test lint format fuzz bench certs clean

help: ## list these targets
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build certs ## install what is missing, build, make certificates, start `gatehouse demo`
	@echo "==> .build/release/gatehouse demo   (Ctrl-C ends it)"
	@exec .build/release/gatehouse demo

build: ## the release binary, .build/release/gatehouse
	@scripts/check-swift.sh
	@scripts/install.sh build
	@echo "==> $(SWIFT) build $(RELEASE_FLAGS)"
	@$(SWIFT) build $(RELEASE_FLAGS)

test: ## install the test peers, run the unit tests and the end-to-end suite
	@scripts/check-swift.sh
	@scripts/install.sh build test
	@scripts/test.sh

lint: ## formatting and undeclared imports; changes nothing
	@scripts/check-swift.sh
	@scripts/install.sh build
	$(SWIFT) format lint --strict --parallel --recursive Package.swift Sources Tests $(wildcard Benchmarks Fuzz)
	$(SWIFT) build --build-tests $(DEBUG_FLAGS)

format: ## format the Swift files in place
	@scripts/check-swift.sh
	$(SWIFT) format --in-place --parallel --recursive Package.swift Sources Tests $(wildcard Benchmarks Fuzz)

fuzz: ## each fuzz target for FUZZ_SECONDS (60)
	@scripts/check-swift.sh
	@scripts/install.sh build
	@Fuzz/run.sh $(FUZZ_SECONDS)

bench: build ## load the release binary, and Kamailio beside it where KAMAILIO names one
	@Benchmarks/compare.sh

certs: ## the development CA and its certificates, under certs/dev
	@scripts/install.sh certs
	@certs/make-certs.sh

clean: ## remove what was built and the development certificates
	rm -rf .build certs/dev
