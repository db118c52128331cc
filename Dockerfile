# One image for every process: `python -m api`, `python -m workers`, `python -m engines.server`, `escriba migrate`.
FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/app PATH=/app/.venv/bin:$PATH
WORKDIR /app
COPY requirements requirements
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && .venv/bin/uv pip install --no-cache --no-deps --require-hashes -r requirements/core.txt
COPY . .
RUN .venv/bin/uv pip install --no-deps --no-build-isolation --offline -e . \
    && useradd --create-home escriba && mkdir -p /models /work && chown escriba /models /work
USER escriba
ENV MODELS_DIR=/models TMP_DIR=/work
CMD ["python", "-P", "-m", "api"]
