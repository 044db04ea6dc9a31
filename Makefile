# make run | test | check | test-all | bench | ray; each makes .venv and installs what it needs.
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin

.PHONY: run test test-all check bench ray chromium clean

run: .venv/installed
	$(BIN)/streamlit run app/main.py --server.port $(PORT)

test: .venv/installed-dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/browser tests

test-all: .venv/installed-dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu"

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev chromium
	$(BIN)/python -m benchmarks run all

ray: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt

.venv/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The browser tests drive a real Chromium; where it is missing and may be installed, it is.
chromium:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	elif command -v sudo >/dev/null && command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
		sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	else \
		echo "No Chromium was found and it cannot be installed without your password: the browser tests will be skipped."; \
		echo "To run them: sudo apt-get install chromium (Debian, Ubuntu), or install Google Chrome."; \
	fi

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
