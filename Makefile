# Each target sets up all that it needs by itself.

here := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
venv := $(here).venv
python := $(venv)/bin/python
stamp := $(venv)/.installed
package := dh dh-python dpkg-buildpackage
# The throw-away machine, which only root can boot, the package that is installed there, and what that depends on.
machine := systemd-nspawn polkitd $(package) lintian python3-psutil python3-sdnotify python3-tomli-w

DESTDIR ?=
# Where systemd, the bus and polkit look for what a system service brings.
PREFIX ?= /usr

.DEFAULT_GOAL := help
.PHONY: help venv run demo test test-real bench install deb lint format clean

help:
	@echo "make run        start musterd for yourself and show the agents on this machine"
	@echo "make demo       watch the whole story on agents of its own"
	@echo "make test       all tests but those with the real agents"
	@echo "make test-real  fetch the real agents and run the tests with them"
	@echo "make bench      print what things cost"
	@echo "make install    install below DESTDIR/PREFIX, as a package would"
	@echo "make deb        build a package for Debian 12 and 13"
	@echo "make format     format the code"

venv: $(stamp)

$(stamp): $(here)pyproject.toml $(here)daemon/musterd-hook
	@$(here)packaging/prerequisites python3 python3-venv
	@python3 -m venv $(venv)
	@$(python) -m pip install --quiet --disable-pip-version-check --editable "$(here)[test]"
	@touch $@

run: $(stamp)
	@$(here)packaging/prerequisites dbus-daemon busctl
	@$(here)packaging/run $(python) top

demo: $(stamp)
	@$(here)packaging/prerequisites dbus-daemon busctl tmux
	@$(python) $(here)tests/demo/play.py

test: $(stamp)
	@$(here)packaging/prerequisites dbus-daemon dbus-broker busctl tmux git strace dunst node Xvfb zsh fish man mandoc
	@[ "$$(id -u)" -ne 0 ] || $(here)packaging/prerequisites $(machine)
	@cd $(here) && $(python) -m pytest $(ARGS)

test-real: $(stamp)
	@$(here)packaging/prerequisites dbus-daemon busctl tmux git npm dunst Xvfb
	@[ "$$(id -u)" -ne 0 ] || $(here)packaging/prerequisites $(machine)
	@cd $(here) && $(python) tests/real/install.py
	@cd $(here) && $(python) -m pytest -m real tests/real tests/system $(ARGS)

bench: $(stamp)
	@$(here)packaging/prerequisites dbus-daemon busctl
	@cd $(here) && $(python) tests/bench/run.py

install: $(stamp)
	@$(here)packaging/install.py "$(DESTDIR)" "$(PREFIX)" \
	    "$$($(python) -c 'import dbus_fast; print(dbus_fast.__path__[0].rpartition("/")[0])')"

deb: $(stamp)
	@$(here)packaging/prerequisites $(package)
	@$(here)packaging/deb $(python)

lint: $(stamp)
	@cd $(here) && $(venv)/bin/ruff check && $(venv)/bin/ruff format --check && $(venv)/bin/mypy

format: $(stamp)
	@cd $(here) && $(venv)/bin/ruff check --fix --quiet; $(venv)/bin/ruff format

clean:
	rm -rf $(venv) $(here)build $(here)dist
