.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.core ## Set everything up, transcribe the sample consultation, print it
	@$(BIN)/escriba demo

run: .venv/.core ## Serve until Ctrl-C
	@$(BIN)/escriba up

test: .venv/.dev ## Set everything up and pass all tests
	@$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

whisperx: .venv-whisperx/.whisperx ## Install WhisperX, in an environment of its own (2 GB; 7 GB with CUDA)

test-whisperx: .venv/.dev .venv-whisperx/.whisperx ## Pass the tests of WhisperX
	@REQUIRE_WHISPERX=1 $(BIN)/pytest tests/engines/whisperx

lint: .venv/.dev ## Format, lint, types, import floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## All that has to pass

format: .venv/.dev ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev ## Every figure beside its anchor, in one table (about 25 minutes)
	@$(BIN)/python -m bench

bench-upload: .venv/.dev ## Uploads: throughput, memory and temporary files beside a bare sink (about 3 minutes)
	@$(BIN)/python -m bench.upload

bench-decode: .venv/.dev ## Decoding ten hours: memory and speed beside ffmpeg (about 2 minutes)
	@$(BIN)/python -m bench.decode

bench-job: .venv/.dev ## Overhead of a job and of the engine call inside it (about 5 minutes)
	@$(BIN)/python -m bench.job

bench-faults: .venv/.dev ## Kills parts of the platform in the middle of a job; times the recovery (about 10 minutes)
	@$(BIN)/python -m bench.faults

bench-engines: .venv/.dev ## GET /engines under load: latency, and how soon it tells the truth (about 3 minutes)
	@$(BIN)/python -m bench.engines

bench-native: .venv/.dev ## The README's curl commands, recording by recording and engine by engine (about a minute)
	@$(BIN)/python -m bench.native --long

bench-diarize: .venv/.dev ## Diarization error of the platform's own diarizer (about a minute)
	@$(BIN)/python -m bench.diarize

bench-roles: .venv/.dev ## Who is provider and who patient, on the dialogues that were held back
	@$(BIN)/python -m bench.roles --held-back

bench-users: .venv/.dev ## Ten users at once with whisper (about a minute)
	@$(BIN)/python -m bench.users

bench-whisperx: .venv/.dev .venv-whisperx/.whisperx ## Cancels and kills WhisperX in each stage (about 6 minutes)
	@$(BIN)/python -m bench.whisperx_stages

chaos: .venv/.dev ## Break everything, again and again; every planted bug must be caught (hours)
	@$(BIN)/python -m tests.chaos --full --out chaos.json

chaos-smoke: .venv/.dev ## A little of that: what the tests run (minutes)
	@$(BIN)/pytest tests/chaos

fuzz-api: .venv/.dev ## Send the API whatever its OpenAPI document allows, and what it does not (about 30 minutes)
	@SCHEMATHESIS_EXAMPLES=100 $(BIN)/pytest -s tests/api/test_document.py

simulate: .venv/.dev ## Live through 10,000 seeded worlds of faults (about 5 minutes)
	@$(BIN)/python -m tests.simulation --seeds 10000

simulate-bugs: .venv/.dev ## Plant each of fifteen bugs, and see which seed finds it (about 5 minutes)
	@$(BIN)/python -m tests.simulation --bug all

ci-services: ## Install by apt the servers that only tests need (Swift, Chromium); needs root
	@sh scripts/ci-services.sh

LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate

lock: .venv/.dev ## Renew the hashed locks from requirements/*.in
	@for name in uv core dev openai-1 openai-2 openai-3; do \
	    $(BIN)/$(LOCK) --excludes requirements/core-excludes.txt requirements/$$name.in -o requirements/$$name.txt; done
	@$(BIN)/$(LOCK) --override requirements/whisperx-overrides.txt --no-emit-package torch \
	    --no-emit-package torchvision --no-emit-package triton requirements/whisperx.in -o requirements/whisperx.txt

.venv/.core: requirements/core.txt requirements/uv.txt pyproject.toml
	@[ -e .venv/.dev ] && [ .venv/.dev -nt requirements/dev.txt ] && touch $@ || sh scripts/setup.sh core

.venv/.dev: requirements/dev.txt requirements/uv.txt pyproject.toml
	@sh scripts/setup.sh dev

.venv-whisperx/.whisperx: requirements/whisperx.txt requirements/whisperx-overrides.txt requirements/uv.txt pyproject.toml
	@sh scripts/setup.sh whisperx

.PHONY: help demo run test whisperx test-whisperx lint check format bench bench-upload bench-decode bench-job bench-faults bench-engines bench-native bench-diarize bench-roles bench-users bench-whisperx chaos chaos-smoke fuzz-api simulate simulate-bugs ci-services lock
