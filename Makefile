# The front door. Meson does the work; see meson.build, and `make help`.
BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
export BUILD FUZZ_SECONDS

.PHONY: all help deps test unit sanitize demo bench fuzz install clean

all:
	@scripts/install-packages --check build
	@scripts/configure $(BUILD)
	@ninja -C $(BUILD)

help:
	@echo 'make                      build into $(BUILD)/'
	@echo 'make deps                 install the Debian packages that building and running need'
	@echo 'make test                 install what is missing, build, run every test'
	@echo 'make unit                 the unit tests alone, in the ordinary build'
	@echo 'make sanitize             every test with the address and undefined behaviour sanitizers'
	@echo 'make demo                 two guests on one network, before your eyes'
	@echo 'make bench                measure, and compare with others'
	@echo 'make fuzz                 each fuzz target for FUZZ_SECONDS=30'
	@echo 'make install PREFIX=DIR   install below DIR (default /usr/local); DESTDIR is respected'
	@echo 'make clean                remove the build directories'

deps:
	@scripts/install-packages build run

test:
	@scripts/test

unit:
	@scripts/test gcc

sanitize:
	@scripts/test sanitize e2e-sanitize

demo:
	@scripts/install-packages build run test
	@scripts/configure $(BUILD)
	@ninja -C $(BUILD)
	@BERTH_BUILD=$(abspath $(BUILD)) scripts/demo

# A build of its own, as people install it. BENCH="--rounds 21 traffic" for some of it; see bench/run --help.
bench:
	@scripts/install-packages build run test bench
	@scripts/configure $(BUILD)-bench --buildtype=release -Dbench=true -Dtests=disabled
	@ninja -C $(BUILD)-bench
	@BERTH_BUILD=$(abspath $(BUILD))-bench bench/run $(BENCH)

fuzz:
	@scripts/fuzz

# A build of its own, as the prefix is part of the programs.
install:
	@scripts/install-packages --check build
	@scripts/configure $(BUILD)-install --prefix=$(abspath $(PREFIX)) -Dtests=disabled
	@meson install -C $(BUILD)-install

clean:
	rm -rf $(BUILD) $(BUILD)-clang $(BUILD)-sanitize $(BUILD)-fuzz $(BUILD)-install $(BUILD)-bench
