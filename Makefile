# Wraps the presets of CMakePresets.json and the scripts; knows nothing of its own about the build.

PRESET ?= release
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
BUILD := build/$(PRESET)

# A clone elsewhere finds what this one compiled.
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1
export FCVM_DATA_DIR ?= $(CURDIR)/build/data
export FCVM_TEST_IMAGES_DIR ?= $(CURDIR)/build/images

.PHONY: build assets demo test test-sanity check bench soak fuzz lint lint-quick format install \
        uninstall clean help
.DEFAULT_GOAL := build

build: ## build everything (PRESET=dev|release|asan-ubsan|tsan|coverage|ci)
	@scripts/install-packages.sh build
	@cmake --preset $(PRESET) --log-level=NOTICE
	@cmake --build --preset $(PRESET) -j $(JOBS)

assets: build ## kernel, initramfs, base root file system and test images in build/data
	@scripts/install-packages.sh run test
	@scripts/setup-assets.sh $(BUILD)/bin

demo: build ## a real service in a microVM, with a table of times at the end
	@scripts/install-packages.sh run test
	@scripts/demo.sh $(BUILD)/bin

test: assets ## every test but the benchmarks
	@ctest --preset $(PRESET) -j $(JOBS)

test-sanity: assets ## one VM and one container
	@ctest --preset $(PRESET) -R '^e2e\.Sanity$$'

check: build ## unit and component tests only, no VM
	@ctest --preset $(PRESET) -j $(JOBS) -L '^(unit|component)$$'

bench: assets ## ratios of speed and memory, on a quiet machine
	@ctest --test-dir $(BUILD) -L '^perf$$' --verbose --no-tests=error

soak: assets ## many VMs, at once too; with PRESET=ci also every process killed at every point
	@ctest --test-dir $(BUILD) -R '^e2e\.(Soak|Concurrency|KillMatrix)$$' --verbose --no-tests=error

fuzz: ## every fuzz target for FUZZ_SECONDS=60
	@scripts/install-packages.sh fuzz
	@cmake --preset fuzz --log-level=NOTICE
	@cmake --build --preset fuzz -j $(JOBS)
	@scripts/fuzz.sh build/fuzz $(FUZZ_SECONDS)

lint: ## format, clang-tidy, shell scripts, include rules, man pages
	@scripts/install-packages.sh build lint
	@scripts/lint.sh

lint-quick: ## lint without clang-tidy
	@scripts/install-packages.sh lint
	@scripts/lint.sh --quick

format: ## rewrite the sources with clang-format
	@git ls-files -z '*.cc' '*.h' | xargs -0 clang-format -i

install: ## install below PREFIX=/usr/local (DESTDIR= is put in front)
	@test -d $(BUILD) || $(MAKE) build
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)" --strip

uninstall: ## remove what install put below PREFIX
	@scripts/uninstall.sh "$(DESTDIR)$(PREFIX)"

clean: ## remove build/, after unmounting the data directory in it
	@scripts/unmount-data.sh "$(FCVM_DATA_DIR)"
	@rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
