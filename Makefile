# Every target prepares the machine first: a second run of tools/prepare takes a blink.

SUITE ?= bookworm
TESTS ?=
SUBJECTS ?=
DESTDIR ?=
PREFIX ?= /usr
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help test test-slow test-exhaustive lint fix demo screenshot benchmark test-bare test-systemd test-deb test-vm test-vm-slow install uninstall deb clean prepare

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

test: prepare ## run the tests, and hold the coverage of lms/model, lms/wire and lms/service (TESTS=... chooses)
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term $(TESTS)
	@$(if $(TESTS),:,$(BIN)/python tools/floors)

test-slow: prepare ## run what takes longest: whole exchanges of real processes, kills, ten thousand of something (as root)
	@tools/prepare debian-archive-keyring debootstrap
	@$(BIN)/python -m pytest -n 2 -m "slow and not vm" $(TESTS)

test-exhaustive: prepare ## kill everything everywhere: at every TPM command, change of a file and step of a store
	@$(BIN)/python -m pytest -n 2 -m exhaustive $(TESTS)

lint: prepare ## check style, formatting, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fix: prepare ## correct what ruff can correct
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: prepare ## a machine loses its TPM and gets its keys back
	@tools/demo

screenshot: prepare ## write docs/desktop.png anew, from what lms-agent really shows (as root)
	@tools/prepare adwaita-icon-theme imagemagick librsvg2-common xfce4-notifyd
	@$(BIN)/python tools/screenshot

benchmark: prepare ## measure against named peers, minutes; also build/benchmark.json (SUBJECTS=packages daemon …)
	@$(BIN)/python -m tests.benchmarks $(SUBJECTS)

test-bare: ## run test and demo on a bare Debian made for it (SUITE=bookworm|trixie; as root)
	@tools/bare-machine $(SUITE)

test-systemd: ## install it on a Debian made for it, boot that, and see the service run (SUITE=…; as root)
	@tools/systemd-machine $(SUITE)

test-deb: prepare ## build the Debian package, install it on a Debian made for it, and remove it (as root)
	@tools/prepare debian-archive-keyring debootstrap
	@$(BIN)/python -m pytest -m deb $(or $(TESTS),tests/packaging)

test-vm: prepare ## boot machines with a TPM in QEMU, replace it, and see what comes back (as root)
test-vm-slow: prepare ## the same where the root is encrypted, EVM labels files, a volume has a PIN, and more (as root)
test-vm-slow: SPEED = slow
test-vm test-vm-slow:
	@tools/prepare debian-archive-keyring debootstrap dosfstools e2fsprogs mtools openssh-client qemu-system-x86 qemu-utils socat
	@tools/guest >/dev/null
	@$(BIN)/python -m pytest -m "vm and $(or $(SPEED),not slow)" $(or $(TESTS),tests/vm)

install: prepare ## install below PREFIX, /usr; packagers set DESTDIR (as root)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/install

uninstall: ## remove what `make install` put there, and nothing else (as root)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/install --remove

deb: prepare ## build the Debian package of what is here, below build/, for this machine's Debian
	@tools/make-deb

clean: ## remove what building and testing left, .venv too
	rm -rf .venv build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find lms tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

prepare:
	@tools/prepare
